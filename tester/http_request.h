#pragma once

#include <cstddef>
#include <string_view>

namespace postoffice::tester {

// One HTTP/1.x request (RFC 9112). The views point into the bytes it was parsed from.
struct HttpRequest {
  std::string_view method;
  std::string_view path;   // As written, from the first '/', without the query.
  std::string_view query;  // After '?', or empty.
  std::string_view body;
  bool keep_alive = true;
};

struct ParsedRequest {
  enum class Outcome {
    kIncomplete,  // More bytes are needed.
    kComplete,    // `request` is there and took the first `size_bytes`.
    kRefused,     // No request: answer `status` and close.
  };
  Outcome outcome = Outcome::kIncomplete;
  HttpRequest request;
  size_t size_bytes = 0;
  int status = 0;
};

// The most that one request may take: anything larger is refused, so that what is kept of a
// connection is bounded.
constexpr size_t kMaxHeadBytes = size_t{64} << 10;
constexpr size_t kMaxBodyBytes = size_t{64} << 10;

// Parses the first request in `bytes`. A body needs a Content-Length; chunked ones are refused.
ParsedRequest parse_http_request(std::string_view bytes);

}  // namespace postoffice::tester
