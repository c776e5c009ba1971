#include "base/http_routes.h"

#include <spdlog/spdlog.h>

#include <exception>

#include "base/http_server.h"
#include "base/http_stream.h"
#include "base/json_text.h"

namespace postoffice {
namespace {

std::string what(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& exception) {
    return exception.what();
  } catch (...) {
    return "not a std::exception";
  }
}

std::string detail_of(const httplib::Request& request, int status) {
  switch (status) {
    case 404:
      return "nothing is at " + request.method + " " + request.path;
    case 414:
      return "the request line is too long";
    default:
      return "the request is malformed, or one of its headers is too long";
  }
}

// Of the request that this thread answers; httplib::Request has no room for it.
SteadyClock::time_point& arrived_at() {
  thread_local SteadyClock::time_point time;
  return time;
}

bool is_form(const std::string& content_type) {
  return content_type.starts_with("multipart/") ||
         content_type.starts_with("application/x-www-form-urlencoded");
}

// Framing is done: what cpp-httplib would do about it again, or otherwise, is taken away.
void adapt(httplib::Request& request, size_t body_bytes) {
  for (const char* name : {"Transfer-Encoding", "Content-Length", "Expect", "Accept-Encoding"}) {
    request.headers.erase(name);
  }
  request.set_header("Content-Length", std::to_string(body_bytes));
  if (is_form(request.get_header_value("Content-Type"))) request.headers.erase("Content-Type");
}

}  // namespace

HttpRoutes::HttpRoutes(size_t max_body_bytes) {
  set_payload_max_length(max_body_bytes);
  set_error_handler([](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;
    answer_problem(response, response.status, detail_of(request, response.status));
  });
  set_exception_handler([](const httplib::Request& request, httplib::Response& response,
                           const std::exception_ptr& error) {
    spdlog::error("{} {}: {}", request.method, json_quote(request.path), what(error));
    answer_problem(response, 500, "the server failed: see its log");
  });
  // Called when the head of the answer is complete: takes back what does not hold here.
  set_post_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    if (response.headers.erase("Keep-Alive") != 0) {
      if (closing) {
        response.set_header("Connection", "close");
      } else if (request.version == "HTTP/1.0") {
        response.set_header("Connection", "keep-alive");
      }
    }
    response.headers.erase("Accept-Ranges");
  });
}

std::string HttpRoutes::answer(const HttpConnection& connection, bool close) {
  HttpStream stream(connection.request(), connection.remote_ip(), connection.remote_port());
  bool closed = false;
  arrived_at() = connection.arrived_at();
  process_request(stream, close, closed,
                  [&](httplib::Request& request) { adapt(request, connection.body_bytes()); });
  return stream.take_answer();
}

SteadyClock::time_point HttpRoutes::request_arrived_at() { return arrived_at(); }

}  // namespace postoffice
