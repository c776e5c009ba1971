#pragma once

#include <cstdint>
#include <functional>
#include <random>

#include "tester/http_answer.h"
#include "tester/object_behaviour.h"
#include "tester/stats.h"

namespace postoffice::tester {

// The object service, and the doors through which tests look at and change tester_server:
//
//   GET  /objects/{id}           {"id":7,"online":false} after the latency; 400 for what is no id
//   GET  /stats                  what was sent and answered so far, JSON
//   GET  /control                the behaviour in force, JSON
//   PUT  /control?name=value     changes it for requests that arrive from now on
//   POST /control/stop-sending   ends the sending of callbacks
//
// Not thread-safe: lives on the AnswerLoop's thread from its start to its end.
class ObjectService : public HttpHandler {
 public:
  // The sender of callbacks, as far as it shows here. Called on the loop's thread; must not block.
  struct Sender {
    std::function<void()> stop;
    std::function<bool()> sending;
    std::function<CallbackStats()> stats;
  };
  ObjectService(ObjectBehaviour behaviour, Sender sender);

  HttpAnswer answer(const HttpRequest& request) override;
  void finished(const HttpAnswer& answer, bool delivered) override;

  const ObjectStats& stats() const { return stats_; }

 private:
  HttpAnswer answer_object(const HttpRequest& request, std::string_view id_as_written);
  HttpAnswer answer_control(const HttpRequest& request);
  HttpAnswer answer_stop(const HttpRequest& request);
  HttpAnswer answer_stats(const HttpRequest& request) const;
  void fail(int64_t id, HttpAnswer& answer);
  void set_garbage(int64_t id, HttpAnswer& answer);
  HttpAnswer control_state() const;

  ObjectBehaviour behaviour_;
  const Sender sender_;
  ObjectStats stats_;
  std::mt19937_64 random_;
  uint64_t garbage_count_ = 0;
};

}  // namespace postoffice::tester
