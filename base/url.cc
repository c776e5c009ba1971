#include "base/url.h"

#include <cctype>
#include <regex>

#include "base/text.h"

namespace postoffice {
namespace {

bool is_scheme(std::string_view text) {
  if (text.empty() || std::isalpha(static_cast<unsigned char>(text.front())) == 0) return false;
  for (const unsigned char c : text) {
    if (std::isalnum(c) == 0 && c != '+' && c != '-' && c != '.') return false;
  }
  return true;
}

// host[:port] or [v6][:port] into `url`; false when malformed.
bool parse_host_port(std::string_view text, Url& url) {
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return false;
    url.host = text.substr(1, close - 1);
    text.remove_prefix(close + 1);
    if (!text.empty() && text.front() != ':') return false;
    has_port = !text.empty();
    if (has_port) port = text.substr(1);
  } else {
    const size_t colon = text.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = text.substr(colon + 1);
    const auto host = percent_decode(text.substr(0, colon));
    if (!host) return false;
    url.host = *host;
  }
  if (url.host.empty()) return false;
  if (!has_port) return true;
  url.port = parse_integer<uint16_t>(port);
  return url.port && *url.port != 0;
}

bool parse_credentials(std::string_view text, Url& url) {
  const size_t colon = text.find(':');
  const auto user = percent_decode(text.substr(0, colon));
  const auto password =
      percent_decode(colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1));
  if (!user || !password) return false;
  url.user = *user;
  url.password = *password;
  return true;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto byte = parse_integer<unsigned char>(text.substr(i + 1, 2), 16);
    if (!byte) return std::nullopt;
    decoded += static_cast<char>(*byte);
    i += 2;
  }
  return decoded;
}

std::optional<Url> parse_url(std::string_view text) {
  Url url;
  const size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos || !is_scheme(text.substr(0, scheme_end)))
    return std::nullopt;
  url.scheme = text.substr(0, scheme_end);
  text.remove_prefix(scheme_end + 3);
  const size_t path_start = text.find_first_of("/?#");
  if (path_start != std::string_view::npos) url.path = text.substr(path_start);
  std::string_view authority = text.substr(0, path_start);
  const size_t at = authority.rfind('@');
  if (at != std::string_view::npos) {
    if (!parse_credentials(authority.substr(0, at), url)) return std::nullopt;
    authority.remove_prefix(at + 1);
  }
  if (!parse_host_port(authority, url)) return std::nullopt;
  return url;
}

std::string mask_passwords(std::string_view text) {
  // Greedy up to the last '@' before a '/' or blank: user and password may themselves hold an '@'
  // or a ',', and the password a ':'. Of several URLs, the "//" of the next is such an end.
  static const std::regex kInUrl(R"((://[^:/\s]*):[^/\s]*@)");
  static const std::regex kInKeywords(R"((password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+))",
                                      std::regex::icase);
  const std::string urls_masked = std::regex_replace(std::string(text), kInUrl, "$1:***@");
  return std::regex_replace(urls_masked, kInKeywords, "$1***");
}

std::string quote_masked(std::string_view text) {
  static const std::regex kMasked(R"(:\*\*\*@)");
  std::string masked = mask_passwords(text);
  // An '@' that ends no masked password ends what mask_passwords() took for none.
  if (std::regex_replace(masked, kMasked, "").find('@') != std::string::npos) masked = "***";
  return '"' + masked + '"';
}

}  // namespace postoffice
