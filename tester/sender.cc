#include "tester/sender.h"

#include <httplib.h>

#include <utility>

#include "base/backoff.h"
#include "tester/id_list.h"

namespace postoffice::tester {
namespace {

constexpr uint16_t kHttpPort = 80;
constexpr Millis kLeastResendDelay{100};
constexpr Millis kMostResendDelay{2000};
// A connection idle for longer may be closed by the server at the moment it is used again, which
// would look like an unanswered callback.
constexpr std::chrono::seconds kMostIdle{1};

std::string body_of(const std::vector<int64_t>& ids) {
  std::string body = R"({"object_ids":[)";
  append_ids(body, ids);
  body += "]}";
  return body;
}

std::string problem_text(httplib::Error error) {
  switch (error) {
    case httplib::Error::Connection:
    case httplib::Error::ConnectionTimeout:
      return "no connection";
    case httplib::Error::Read:
      return "no answer";
    default:
      return "no answer (" + httplib::to_string(error) + ")";
  }
}

bool is_success(int status) { return status >= 200 && status < 300; }

}  // namespace

// One connection, kept alive while it is busy.
class Sender::Client {
 public:
  struct Answer {
    int status = 0;  // 0: none.
    std::string problem;
  };

  explicit Client(const Options& options)
      : client_(options.url.host, options.url.port.value_or(kHttpPort)), path_(options.url.path) {
    client_.set_keep_alive(true);
    client_.set_tcp_nodelay(true);
    client_.set_connection_timeout(options.timeout);
    client_.set_read_timeout(options.timeout);
    client_.set_write_timeout(options.timeout);
    if (!options.url.user.empty()) {
      client_.set_basic_auth(options.url.user, options.url.password);
    }
  }

  Answer post(const std::string& body) {
    if (SteadyClock::now() - last_used_ > kMostIdle) client_.stop();
    const auto result = client_.Post(path_, body, "application/json");
    last_used_ = SteadyClock::now();
    if (!result) return {0, problem_text(result.error())};
    return {result->status, "answered with status " + std::to_string(result->status)};
  }

 private:
  httplib::Client client_;
  const std::string path_;
  SteadyClock::time_point last_used_;
};

Sender::Sender(Options options, Schedule& schedule, CallbackIds& ids, SentLog* sent_log,
               std::function<void()> on_done)
    : options_(std::move(options)),
      schedule_(schedule),
      ids_(ids),
      sent_log_(sent_log),
      on_done_(std::move(on_done)) {}

void Sender::start() {
  active_ = options_.connections;
  for (size_t i = 0; i < options_.connections; ++i) {
    threads_.emplace_back("sender", [this] { run(); });
  }
}

void Sender::stop() {
  stop_sending();
  for (auto& thread : threads_) thread.join();
}

void Sender::run() {
  Client client(options_);
  while (schedule_.wait_for_turn()) send(client, ids_.next());
  if (--active_ == 0) on_done_();
}

void Sender::send(Client& client, const std::vector<int64_t>& ids) {
  const std::string body = body_of(ids);
  if (post(client, body, ids) || !options_.resend) return;
  Backoff backoff(kLeastResendDelay, kMostResendDelay);
  while (schedule_.pause(backoff.next())) {
    if (post(client, body, ids)) return;
  }
}

bool Sender::post(Client& client, const std::string& body, const std::vector<int64_t>& ids) {
  const UnixTime sent_at = unix_now();
  const auto began = SteadyClock::now();
  const auto answer = client.post(body);
  const auto latency =
      std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - began);
  if (sent_log_ != nullptr) sent_log_->append(sent_at, answer.status, latency, ids);
  if (is_success(answer.status)) {
    delivery_log_.taken();
  } else {
    delivery_log_.failed(answer.problem);
  }
  const std::lock_guard lock(mutex_);
  ++stats_.sent;
  ++stats_.by_status[answer.status];
  stats_.ids += ids.size();
  latencies_.record(latency);
  return is_success(answer.status);
}

CallbackStats Sender::stats() const {
  const std::lock_guard lock(mutex_);
  CallbackStats stats = stats_;
  stats.skipped = schedule_.skipped();
  stats.latency_p50 = latencies_.quantile(0.5);
  stats.latency_p99 = latencies_.quantile(0.99);
  stats.latency_max = latencies_.max();
  return stats;
}

}  // namespace postoffice::tester
