#pragma once

#include <httplib.h>

#include <cstddef>
#include <optional>

#include "base/http_server.h"
#include "base/metrics.h"
#include "base/time.h"
#include "broker/intake.h"
#include "server/callback_metrics.h"
#include "server/direct_callbacks.h"

namespace postoffice {

// POST /callback: answers 202 when the callback is durable, in the broker or in the outbox.
//
// | 202 | {"accepted":<ids>}; an empty list is accepted without storing anything |
// | 400 | malformed: where, and what would be right |
// | 413 | too many ids |
// | 503 | nothing durable could take it; Retry-After. It may be processed all the same. |
class CallbackHandler {
 public:
  struct Options {
    size_t max_ids = 10'000;
    // For broker or outbox. Far beyond the intake's own deadline: only a disk that hangs lasts so
    // long.
    Millis wait{10'000};
    bool direct = true;  // The plain case without routing (DirectCallbacks).
  };

  // Intake and metrics outlive the handler, and the intake is stopped before it goes.
  CallbackHandler(Options options, Intake& intake, Metrics& metrics);

  // Once. The handler outlives the server.
  void add_routes(HttpServer& server);

 private:
  void handle(const httplib::Request& request, httplib::Response& response,
              SteadyClock::time_point arrived_at);
  void answer(httplib::Response& response, size_t ids, std::optional<Accepted> outcome);

  const Options options_;
  Intake& intake_;
  CallbackMetrics metrics_;
  std::optional<DirectCallbacks> direct_;
};

}  // namespace postoffice
