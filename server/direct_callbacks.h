#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/http_server.h"
#include "base/time.h"
#include "broker/intake.h"
#include "server/callback_metrics.h"
#include "server/callback_request.h"

namespace postoffice {

inline constexpr const char* kCallbackUnavailable =
    "neither the broker nor the disk can take the callback: send it again";

// {"accepted":<ids>}
std::string callback_accepted(size_t ids);

// The plain case of POST /callback, on the HTTP loop's thread: no routing, no pool thread that
// waits for the confirm. What arrives in one round of the loop is handed to the intake as one.
// Whatever it does not accept, it leaves to the CallbackHandler, which says what is wrong.
class DirectCallbacks final : public HttpDirect {
 public:
  struct Options {
    size_t max_ids = 10'000;
    Millis wait{10'000};  // For the intake; then 503. Counted in whole seconds.
  };

  // All outlive it; the intake is stopped before.
  DirectCallbacks(Options options, Intake& intake, CallbackMetrics& metrics, HttpServer& server)
      : options_(options), intake_(intake), metrics_(metrics), server_(server) {}

  bool take(HttpConnection& connection) override;
  void end_of_round() override;

 private:
  struct Request {
    HttpConnection* connection;
    size_t ids;
  };
  // Callbacks that share an answer of the intake.
  struct Group {
    std::string lines;
    UnixTime received_at;
    SteadyClock::time_point arrived_at;
    std::vector<Request> requests;  // Empty once they are answered.
  };

  void submit();
  void answer(Group& group, Accepted accepted);

  const Options options_;
  Intake& intake_;
  CallbackMetrics& metrics_;
  HttpServer& server_;
  CallbackRequestParser parser_;
  std::vector<int64_t> ids_;
  std::shared_ptr<Group> gathering_;
  std::deque<std::shared_ptr<Group>> submitted_;
};

}  // namespace postoffice
