#include "base/http_problem.h"

#include "base/json_text.h"

namespace postoffice {

const char* reason_phrase(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return status < 500 ? "Error of the Request" : "Error of the Server";
  }
}

std::string problem_json(int status, std::string_view detail) {
  return "{\"type\":\"about:blank\",\"title\":" + json_quote(reason_phrase(status)) +
         ",\"status\":" + std::to_string(status) + ",\"detail\":" + json_quote(detail) + "}";
}

}  // namespace postoffice
