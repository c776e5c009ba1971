#pragma once

#include <string>

namespace postoffice {

// An answer that is made without cpp-httplib, with the same headers in the same order.
struct HttpAnswer {
  int status = 200;
  std::string content_type;
  std::string body;
  std::string more_headers;  // Lines, each with its CR LF.

  // application/problem+json (RFC 9457); 503 asks to come back after a second.
  static HttpAnswer problem(int status, const std::string& detail);
  // As it is sent. `close`: it is the last one of its connection.
  std::string text(bool close) const;
};

}  // namespace postoffice
