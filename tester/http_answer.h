#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "tester/http_request.h"

namespace postoffice::tester {

// What an HttpHandler wants done with a request.
struct HttpAnswer {
  enum class Delivery {
    kAnswer,  // status, headers and body, after `delay`.
    kRaw,     // `body` as it is instead of an HTTP answer, after `delay`; then the connection ends.
    kHang,    // Nothing; the connection stays open until the client gives up.
    kReset,   // Nothing; the connection is reset at once (TCP RST).
  };
  Delivery delivery = Delivery::kAnswer;
  int status = 200;
  std::string_view content_type = "application/json";  // Points to a constant.
  std::string headers;                                 // Further ones, each with its "\r\n".
  std::string body;
  std::chrono::microseconds delay{0};
  bool counts = false;  // For the handler; AnswerLoop only hands it back.
};

// Decides on requests. Called on one thread, the AnswerLoop's; must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;

  virtual HttpAnswer answer(const HttpRequest& request) = 0;
  // Once for each answer: it was delivered (for a reset: carried out), or the client or the loop
  // was gone before.
  virtual void finished(const HttpAnswer& answer, bool delivered) = 0;
};

// The bytes of an answer. `head_only`: without the body, for HEAD.
void append_http_answer(std::string& out, const HttpAnswer& answer, bool keep_alive,
                        bool head_only);

}  // namespace postoffice::tester
