#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postoffice {

// The parts of scheme://user:password@host:port/path that Postoffice uses, percent-decoded except
// `path`. RFC 3986; an IPv6 host stands in brackets in the text and without them here.
struct Url {
  std::string scheme;
  std::string user;
  std::string password;
  std::string host;
  std::optional<uint16_t> port;
  std::string path;  // From the first '/', which it includes; as written, with any query.
};

// Nothing for text that is no such URL: no scheme, no host, a port outside 1 to 65535, bad
// percent-encoding.
std::optional<Url> parse_url(std::string_view text);

// RFC 3986 section 2.1. Nothing when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> percent_decode(std::string_view text);

// The same text with every password replaced by ***: in URLs, also several separated by commas, and
// in libpq's "password=..." form. For logs and errors.
std::string mask_passwords(std::string_view text);

// What somebody wrote, for the error that refuses it: in quotes, passwords masked, or all of it
// when it is not clear where in it a password may stand.
std::string quote_masked(std::string_view text);

}  // namespace postoffice
