#include "tester/http_answer.h"

#include <algorithm>
#include <array>
#include <utility>

namespace postoffice::tester {
namespace {

using Reason = std::pair<int, std::string_view>;
constexpr std::array kReasons = {Reason{200, "OK"},
                                 Reason{202, "Accepted"},
                                 Reason{400, "Bad Request"},
                                 Reason{404, "Not Found"},
                                 Reason{405, "Method Not Allowed"},
                                 Reason{411, "Length Required"},
                                 Reason{413, "Content Too Large"},
                                 Reason{429, "Too Many Requests"},
                                 Reason{431, "Request Header Fields Too Large"},
                                 Reason{500, "Internal Server Error"},
                                 Reason{503, "Service Unavailable"}};

std::string_view reason_of(int status) {
  const auto* found = std::ranges::find(kReasons, status, &Reason::first);
  return found == kReasons.end() ? "Status" : found->second;
}

}  // namespace

void append_http_answer(std::string& out, const HttpAnswer& answer, bool keep_alive,
                        bool head_only) {
  out += "HTTP/1.1 ";
  out += std::to_string(answer.status);
  out += ' ';
  out += reason_of(answer.status);
  out += "\r\nContent-Type: ";
  out += answer.content_type;
  out += "\r\nContent-Length: ";
  out += std::to_string(answer.body.size());
  out += keep_alive ? "\r\nConnection: keep-alive\r\n" : "\r\nConnection: close\r\n";
  out += answer.headers;
  out += "\r\n";
  if (!head_only) out += answer.body;
}

}  // namespace postoffice::tester
