#include "base/http_answer.h"

#include "base/http_problem.h"

namespace postoffice {

HttpAnswer HttpAnswer::problem(int status, const std::string& detail) {
  HttpAnswer answer{.status = status,
                    .content_type = kProblemType,
                    .body = problem_json(status, detail),
                    .more_headers = ""};
  if (status == 503) answer.more_headers = "Retry-After: 1\r\n";
  if (status == 415) answer.more_headers = "Accept-Encoding: identity\r\n";
  return answer;
}

std::string HttpAnswer::text(bool close) const {
  std::string text;
  text.reserve(160 + body.size());
  text += "HTTP/1.1 ";
  text += std::to_string(status);
  text += ' ';
  text += reason_phrase(status);
  if (close) text += "\r\nConnection: close";
  text += "\r\nContent-Length: ";
  text += std::to_string(body.size());
  text += "\r\nContent-Type: ";
  text += content_type;
  text += "\r\n";
  text += more_headers;
  text += "\r\n";
  text += body;
  return text;
}

}  // namespace postoffice
