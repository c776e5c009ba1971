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

}  // namespace

CallbackHandler::CallbackHandler(Options options, Intake& intake, Metrics& metrics)
    : options_(options), intake_(intake), metrics_(metrics) {}

void CallbackHandler::add_routes(HttpServer& server) {
  server.routes().Post(
      "/callback", [this](const httplib::Request& request, httplib::Response& response) {
        const auto arrived_at = HttpServer::request_arrived_at();
        handle(request, response, arrived_at);
        metrics_.seconds.Observe(
            std::chrono::duration<double>(SteadyClock::now() - arrived_at).count());
      });
  refuse_other_methods(server.routes(), "/callback", "POST");
  if (!options_.direct) return;
  direct_.emplace(DirectCallbacks::Options{.max_ids = options_.max_ids, .wait = options_.wait},
                  intake_, metrics_, server);
  server.set_direct(*direct_);
}

void CallbackHandler::handle(const httplib::Request& request, httplib::Response& response,
                             SteadyClock::time_point arrived_at) {
  const UnixTime received_at = unix_now();
  thread_local CallbackRequestParser parser;
  thread_local std::vector<int64_t> ids;
  if (const auto refusal = parser.parse(request.body, options_.max_ids, ids)) {
    (refusal->status == 413 ? metrics_.too_large : metrics_.malformed).Increment();
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
  metrics_.answered(outcome.value_or(Accepted::kRefused), 1, ids);
  if (!outcome || *outcome == Accepted::kRefused) {
    response.set_header("Retry-After", "1");
    return answer_problem(response, 503, kCallbackUnavailable);
  }
  response.status = 202;
  response.set_content(callback_accepted(ids), "application/json");
}

}  // namespace postoffice
