#include "server/callback_handler.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/callback_message.h"
#include "server/callback_request.h"
#include "server/routes.h"

namespace postoffice {
namespace {

constexpr const char* kAcceptedHelp = "Callbacks answered with 202, by who keeps them.";
constexpr const char* kRefusedHelp = "Callbacks not accepted.";

// What the intake says of one callback. Shared, because the intake may say it after the handler has
// stopped waiting.
class Outcome {
 public:
  void set(Accepted accepted) {
    const std::lock_guard lock(mutex_);
    accepted_ = accepted;
    changed_.notify_one();
  }
  std::optional<Accepted> wait_for(Millis timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [this] { return accepted_.has_value(); });
    return accepted_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Accepted> accepted_;
};

prometheus::Counter& accepted(Metrics& metrics, const char* via) {
  return metrics.counter("postoffice_callbacks_accepted_total", kAcceptedHelp, {{"via", via}});
}

prometheus::Counter& refused(Metrics& metrics, const char* reason) {
  return metrics.counter("postoffice_callbacks_refused_total", kRefusedHelp, {{"reason", reason}});
}

}  // namespace

CallbackHandler::CallbackHandler(Options options, Intake& intake, Metrics& metrics)
    : options_(options),
      intake_(intake),
      by_broker_(accepted(metrics, "broker")),
      by_outbox_(accepted(metrics, "outbox")),
      malformed_(refused(metrics, "malformed")),
      too_large_(refused(metrics, "too_large")),
      unavailable_(refused(metrics, "unavailable")),
      object_ids_(metrics.counter("postoffice_object_ids_accepted_total",
                                  "Ids in accepted callbacks, duplicates included.")),
      seconds_(metrics.histogram(
          "postoffice_callback_seconds", "From a whole request to its answer.",
          {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10})) {}

void CallbackHandler::add_routes(HttpServer& server) {
  server.routes().Post(
      "/callback", [this](const httplib::Request& request, httplib::Response& response) {
        const auto arrived_at = HttpServer::request_arrived_at();
        handle(request, response, arrived_at);
        seconds_.Observe(std::chrono::duration<double>(SteadyClock::now() - arrived_at).count());
      });
  refuse_other_methods(server.routes(), "/callback", "POST");
}

void CallbackHandler::handle(const httplib::Request& request, httplib::Response& response,
                             SteadyClock::time_point arrived_at) {
  const UnixTime received_at = unix_now();
  thread_local CallbackRequestParser parser;
  thread_local std::vector<int64_t> ids;
  if (const auto refusal = parser.parse(request.body, options_.max_ids, ids)) {
    (refusal->status == 413 ? too_large_ : malformed_).Increment();
    return answer_problem(response, refusal->status, refusal->detail);
  }
  if (ids.empty()) return answer(response, 0, Accepted::kByBroker);

  const auto outcome = std::make_shared<Outcome>();
  intake_.accept(
      encode_callback_line(received_at, ids), received_at,
      [outcome](Accepted accepted) { outcome->set(accepted); }, arrived_at);
  answer(response, ids.size(), outcome->wait_for(options_.wait));
}

void CallbackHandler::answer(httplib::Response& response, size_t ids,
                             std::optional<Accepted> outcome) {
  if (!outcome || *outcome == Accepted::kRefused) {
    unavailable_.Increment();
    response.set_header("Retry-After", "1");
    return answer_problem(response, 503,
                          "neither the broker nor the disk can take the callback: send it again");
  }
  (*outcome == Accepted::kByBroker ? by_broker_ : by_outbox_).Increment();
  object_ids_.Increment(static_cast<double>(ids));
  response.status = 202;
  response.set_content("{\"accepted\":" + std::to_string(ids) + "}", "application/json");
}

}  // namespace postoffice
