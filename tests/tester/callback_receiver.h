#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "tester/answer_loop.h"

namespace postoffice::tester {

// Takes callbacks on a free port, on both loopback addresses, and answers as told.
class CallbackReceiver : public HttpHandler {
 public:
  CallbackReceiver() : loop_("localhost", 0, *this) { loop_.start(); }
  ~CallbackReceiver() override { loop_.stop(); }

  // How callbacks are answered from now on; the first `times` of them, all if negative, then with
  // 202 again.
  void answer_with(HttpAnswer answer, int times = -1) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
    times_ = times;
  }
  void answer_with_status(int status, int times = -1) {
    HttpAnswer answer;
    answer.status = status;
    answer_with(std::move(answer), times);
  }

  std::vector<std::string> bodies() const {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }
  size_t most_at_once() const {
    const std::lock_guard lock(mutex_);
    return most_at_once_;
  }
  uint16_t port() const { return loop_.port(); }
  std::string url() const { return "http://localhost:" + std::to_string(port()) + "/callback"; }

  HttpAnswer answer(const HttpRequest& request) override {
    const std::lock_guard lock(mutex_);
    bodies_.emplace_back(request.body);
    most_at_once_ = std::max(most_at_once_, ++at_once_);
    HttpAnswer answer = answer_;
    if (times_ == 0) {
      answer = {};
      answer.status = 202;
    } else if (times_ > 0) {
      --times_;
    }
    if (request.method != "POST" || request.path != "/callback") answer.status = 404;
    return answer;
  }
  void finished(const HttpAnswer& /*answer*/, bool /*delivered*/) override {
    const std::lock_guard lock(mutex_);
    --at_once_;
  }

 private:
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  HttpAnswer answer_;
  int times_ = 0;
  std::vector<std::string> bodies_;
  size_t at_once_ = 0;
  size_t most_at_once_ = 0;

  AnswerLoop loop_;
};

}  // namespace postoffice::tester
