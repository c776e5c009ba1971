#include "worker/publications.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "base/backoff.h"
#include "base/thread.h"
#include "broker/callback_message.h"
#include "broker/topology.h"
#include "worker/retry_policy.h"

namespace postoffice {
namespace {

// Headers share one frame; 128 KiB is the usual limit, 4 KiB the least that AMQP allows.
constexpr size_t kMostReasonBytes = 1024;

struct Publication {
  std::string routing_key;
  std::string body;
  std::string reason;                  // Of a dead letter.
  std::optional<UnixTime> not_before;  // Of a retry; its queue is chosen when it is sent.
  prometheus::Counter* counter = nullptr;
  std::vector<DeliveryHandle> deliveries;
};

Message message_of(const Publication& publication) {
  Message message{publication.routing_key, publication.body, {}};
  if (publication.not_before) {
    message.routing_key = RetryPolicy::queue_for(*publication.not_before - unix_now()).name;
  }
  if (!publication.reason.empty()) message.headers.emplace_back("reason", publication.reason);
  return message;
}

}  // namespace

class Publications::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(const Options& options, Publisher& publisher, Deliveries& deliveries, Metrics& metrics)
      : options_(options),
        publisher_(publisher),
        deliveries_(deliveries),
        retries_(metrics.counter("postoffice_retries_total",
                                 "Objects put into a retry queue after a failed attempt.")),
        dead_letters_(
            metrics.counter("postoffice_dead_letters_total",
                            "Objects and lines given up, put into the dead-letter queue.")),
        backoff_(options.backoff_least, options.backoff_most) {}

  prometheus::Counter& retries() { return retries_; }
  prometheus::Counter& dead_letters() { return dead_letters_; }

  void start() {
    thread_ = Thread("worker-publish", [this] { run(); });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      is_stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void put(Publication publication) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(publication));
    changed_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] {
        return is_stopped_ || (!waiting_.empty() && at_publisher_ < options_.window);
      });
      // Whatever was not confirmed last may not be this time either.
      changed_.wait_until(lock, pause_until_, [&] { return is_stopped_; });
      if (is_stopped_) return;
      const auto publication = std::make_shared<Publication>(std::move(waiting_.front()));
      waiting_.pop_front();
      ++at_publisher_;
      lock.unlock();
      send(publication);
      lock.lock();
    }
  }

  // Without the lock: the publisher may call back at once.
  void send(const std::shared_ptr<Publication>& publication) {
    if (!deliveries_.holds_any(publication->deliveries)) {
      const std::lock_guard lock(mutex_);
      --at_publisher_;
      return;
    }
    if (!publisher_.available()) {
      settled(*publication, PublishOutcome::kUnavailable);
      return;
    }
    auto message = message_of(*publication);
    publisher_.publish(std::move(message),
                       [core = shared_from_this(), publication](PublishOutcome outcome) {
                         core->settled(*publication, outcome);
                       });
  }

  void settled(Publication& publication, PublishOutcome outcome) {
    const std::lock_guard lock(mutex_);
    --at_publisher_;
    if (is_stopped_) return;  // The deliveries may be gone.
    if (outcome == PublishOutcome::kConfirmed) {
      backoff_.reset();
      if (publication.counter != nullptr) publication.counter->Increment();
      deliveries_.done(publication.deliveries);
    } else {
      waiting_.push_back(std::move(publication));
      // What was lost together is one failure, however many messages it is.
      const auto now = SteadyClock::now();
      if (now >= pause_until_) pause_until_ = now + options_.backoff_least + backoff_.next();
    }
    changed_.notify_one();
  }

  const Options options_;
  Publisher& publisher_;
  Deliveries& deliveries_;
  prometheus::Counter& retries_;
  prometheus::Counter& dead_letters_;

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable changed_;
  std::deque<Publication> waiting_;
  size_t at_publisher_ = 0;
  Backoff backoff_;
  SteadyClock::time_point pause_until_{};
  bool is_stopped_ = false;

  Thread thread_;
};

Publications::Publications(const Options& options, Publisher& publisher, Deliveries& deliveries,
                           Metrics& metrics)
    : core_(std::make_shared<Core>(options, publisher, deliveries, metrics)) {}

Publications::~Publications() { stop(); }

void Publications::start() { core_->start(); }
void Publications::stop() { core_->stop(); }

void Publications::retry(const Retry& retry, std::vector<DeliveryHandle> deliveries) {
  Publication publication;
  publication.body =
      encode_retry_line(retry.received_at, retry.id, retry.attempt, retry.not_before);
  publication.not_before = retry.not_before;
  publication.counter = &core_->retries();
  publication.deliveries = std::move(deliveries);
  core_->put(std::move(publication));
}

void Publications::dead_letter(std::string line, std::string reason,
                               std::vector<DeliveryHandle> deliveries) {
  if (reason.size() > kMostReasonBytes) reason.resize(kMostReasonBytes);
  Publication publication;
  publication.routing_key = topology::kCallbacksDead;
  publication.body = std::move(line);
  publication.reason = std::move(reason);
  publication.counter = &core_->dead_letters();
  publication.deliveries = std::move(deliveries);
  core_->put(std::move(publication));
}

void Publications::callback(std::string line, DeliveryHandle delivery) {
  Publication publication;
  publication.routing_key = topology::kCallbacks;
  publication.body = std::move(line);
  publication.deliveries = {delivery};
  core_->put(std::move(publication));
}

}  // namespace postoffice
