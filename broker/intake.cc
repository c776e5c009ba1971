#include "broker/intake.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/thread.h"
#include "broker/callback_batches.h"
#include "broker/forwarded_times.h"
#include "broker/outbox_drainer.h"
#include "broker/topology.h"

namespace postoffice {
namespace {

// A breaker may open and close many times a second; people want to know every now and then. At
// start it is open until the broker is connected, which is worth a line only if it lasts.
constexpr auto kLogInterval = std::chrono::seconds(10);
constexpr auto kQuietStart = std::chrono::seconds(1);

}  // namespace

class Intake::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, Publisher& publisher, Outbox& outbox, Metrics& metrics);

  void watch_publisher();
  void start();
  void stop();
  void accept(const std::string& lines, UnixTime received_at, Done done,
              SteadyClock::time_point arrived_at, uint32_t callbacks);
  std::optional<UnixTime> oldest_unforwarded();
  void forwarded_before(UnixTime oldest_received_at) { forwarded_.add(oldest_received_at); }
  void forwarded_settled() { forwarded_.settled(); }
  bool breaker_open() const { return batches_.breaker().is_open(); }

 private:
  using Batch = CallbackBatches::Batch;
  // A message that is to be published once the mutex is free.
  struct Sending {
    Batch batch;  // None: nothing to send.
    Message message;
  };

  void run();
  void publish(Sending sending);
  void publish_waiting();
  void settle(const Batch& batch, PublishOutcome outcome);
  void availability_changed(bool available);

  // REQUIRES: mutex_ is held; the last two give it up meanwhile.
  Sending next_sending(SteadyClock::time_point now);
  void wake_for_work();
  void wait(std::unique_lock<std::mutex>& lock);
  void commit(std::unique_lock<std::mutex>& lock);
  void log_breaker(std::unique_lock<std::mutex>& lock);

  const Options options_;
  Publisher& publisher_;
  Outbox& outbox_;
  prometheus::Counter& appends_total_;
  prometheus::Counter& messages_total_;
  prometheus::Histogram& message_callbacks_;
  prometheus::Gauge& breaker_gauge_;
  ForwardedTimes forwarded_;
  OutboxDrainer drainer_;

  // Guards what follows. Nothing of the publisher, the outbox, the drainer or a caller is called
  // while it is held.
  std::mutex mutex_;
  std::condition_variable changed_;  // Wakes the outbox thread.
  std::condition_variable given_;
  int giving_ = 0;  // Answers that are being given by the publisher's thread.
  CallbackBatches batches_;
  bool running_ = false;
  // When the outbox thread wakes by itself.
  SteadyClock::time_point wakes_at_ = SteadyClock::time_point::max();
  bool watching_log_ = false;  // It does so for log_again_at_.
  bool logged_open_ = false;
  SteadyClock::time_point log_again_at_;

  Thread thread_;
};

Intake::Core::Core(Options options, Publisher& publisher, Outbox& outbox, Metrics& metrics)
    : options_(options),
      publisher_(publisher),
      outbox_(outbox),
      appends_total_(
          metrics.counter("postoffice_outbox_appends_total", "Callbacks committed to the outbox.")),
      messages_total_(metrics.counter("postoffice_intake_messages_total",
                                      "Messages published without a stay in the outbox.")),
      message_callbacks_(metrics.histogram("postoffice_intake_message_callbacks",
                                           "Callbacks that shared such a message.",
                                           {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024})),
      breaker_gauge_(metrics.gauge("postoffice_intake_breaker_open",
                                   "1 while callbacks go straight to the outbox.")),
      drainer_(
          {.stop_wait = options.deadline}, publisher, outbox, forwarded_,
          [this](SteadyClock::time_point sent_at, SteadyClock::time_point settled_at) {
            const std::lock_guard lock(mutex_);
            batches_.drainer_confirmed(sent_at, settled_at);
            wake_for_work();
          },
          metrics),
      batches_(options.deadline, options.max_outstanding) {}

void Intake::Core::watch_publisher() {
  publisher_.on_availability([weak = weak_from_this()](bool available) {
    if (const auto core = weak.lock()) core->availability_changed(available);
  });
}

void Intake::Core::start() {
  const bool available = publisher_.available();
  {
    const std::lock_guard lock(mutex_);
    if (running_) return;
    running_ = true;
    const auto now = SteadyClock::now();
    log_again_at_ = now + kQuietStart;
    if (!available) batches_.open_breaker(now, "it is not available");
  }
  thread_ = Thread("outbox", [this] { run(); });
  drainer_.start();
}

void Intake::Core::stop() {
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    changed_.notify_one();
  }
  drainer_.stop();
  thread_.join();
  std::unique_lock lock(mutex_);
  given_.wait(lock, [this] { return giving_ == 0; });
}

void Intake::Core::accept(const std::string& lines, UnixTime received_at, Done done,
                          SteadyClock::time_point arrived_at, uint32_t callbacks) {
  const auto now = SteadyClock::now();
  const bool available = !breaker_open() || publisher_.available();
  std::unique_lock lock(mutex_);
  if (!running_ || batches_.bytes() + lines.size() > options_.max_waiting_bytes) {
    lock.unlock();
    done(Accepted::kRefused);
    return;
  }
  batches_.add(now, arrived_at, available, {lines, callbacks, received_at}, std::move(done));
  Sending sending = next_sending(now);
  wake_for_work();
  lock.unlock();
  publish(std::move(sending));
}

std::optional<UnixTime> Intake::Core::oldest_unforwarded() {
  // In this order: what leaves the outbox is among the forwarded before.
  const auto in_outbox = outbox_.depth().oldest_received_at;
  return earlier(in_outbox, forwarded_.oldest());
}

Intake::Core::Sending Intake::Core::next_sending(SteadyClock::time_point now) {
  Sending sending;
  sending.batch = batches_.next_to_send(now);
  if (sending.batch) {
    sending.message.routing_key = topology::kCallbacks;
    sending.message.body = sending.batch->body;  // A copy: the outbox may need the original.
    messages_total_.Increment();
    message_callbacks_.Observe(sending.batch->callbacks);
  }
  return sending;
}

// What is handed to the publisher keeps the core alive, so that it may be settled at any time.
void Intake::Core::publish(Sending sending) {
  if (!sending.batch) return;
  publisher_.publish(std::move(sending.message),
                     [core = shared_from_this(), batch = std::move(sending.batch)](
                         PublishOutcome outcome) { core->settle(batch, outcome); });
}

void Intake::Core::publish_waiting() {
  for (;;) {
    Sending sending;
    {
      const std::lock_guard lock(mutex_);
      sending = next_sending(SteadyClock::now());
    }
    if (!sending.batch) return;
    publish(std::move(sending));
  }
}

void Intake::Core::settle(const Batch& batch, PublishOutcome outcome) {
  const auto now = SteadyClock::now();
  CallbackBatches::Answer answer;
  Sending sending;
  {
    const std::lock_guard lock(mutex_);
    answer = batches_.settled(batch, outcome, now);
    if (const auto late = batches_.take_confirmed_late()) forwarded_.add(*late);
    sending = next_sending(now);
    wake_for_work();
    ++giving_;
  }
  publish(std::move(sending));
  answer.give();
  const std::lock_guard lock(mutex_);
  if (--giving_ == 0) given_.notify_all();
}

void Intake::Core::availability_changed(bool available) {
  const bool outbox_is_empty = outbox_.depth().entries == 0;
  {
    const std::lock_guard lock(mutex_);
    if (available) {
      batches_.broker_is_back(outbox_is_empty);
    } else {
      batches_.open_breaker(SteadyClock::now(), "it is not available");
    }
    wake_for_work();
  }
  drainer_.availability_changed(available);
}

// Cheap when there is nothing new for the outbox thread, which is the rule.
void Intake::Core::wake_for_work() {
  breaker_gauge_.Set(breaker_open() ? 1 : 0);
  if (batches_.outbox_has_work() || (!watching_log_ && breaker_open() != logged_open_) ||
      batches_.next_deadline().value_or(wakes_at_) < wakes_at_) {
    changed_.notify_one();
  }
}

void Intake::Core::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    batches_.expire(SteadyClock::now());
    log_breaker(lock);
    if (batches_.outbox_has_work()) {
      commit(lock);
    } else if (!running_ && !batches_.next_deadline()) {
      return;
    } else {
      wait(lock);
    }
  }
}

void Intake::Core::wait(std::unique_lock<std::mutex>& lock) {
  auto until = batches_.next_deadline();
  watching_log_ = breaker_open() != logged_open_;
  if (watching_log_) until = std::min(until.value_or(log_again_at_), log_again_at_);
  wakes_at_ = until.value_or(SteadyClock::time_point::max());
  if (until) {
    changed_.wait_until(lock, *until);
  } else {
    changed_.wait(lock);
  }
}

// Group commit: everything that waits goes into one transaction.
void Intake::Core::commit(std::unique_lock<std::mutex>& lock) {
  auto transaction = batches_.begin(SteadyClock::now());
  lock.unlock();

  const auto refusal = outbox_.append(transaction.entries, transaction.removals);
  const bool available = publisher_.available();
  double callbacks = 0;
  for (const auto& entry : transaction.entries) callbacks += entry.callbacks;

  lock.lock();
  const auto answers =
      batches_.finish(std::move(transaction), refusal, available, SteadyClock::now());
  if (const auto late = batches_.take_confirmed_late()) forwarded_.add(*late);
  lock.unlock();

  for (const auto& answer : answers) answer.give();
  if (!refusal && callbacks > 0) {
    appends_total_.Increment(callbacks);
    drainer_.wake();
  }
  publish_waiting();
  lock.lock();
}

void Intake::Core::log_breaker(std::unique_lock<std::mutex>& lock) {
  const auto now = SteadyClock::now();
  const bool open = breaker_open();
  breaker_gauge_.Set(open ? 1 : 0);
  if (open == logged_open_ || now < log_again_at_) return;
  logged_open_ = open;
  log_again_at_ = now + kLogInterval;
  const char* why = batches_.breaker().why();
  lock.unlock();
  if (open) {
    spdlog::warn("broker: {}; callbacks go to the outbox", why);
  } else {
    spdlog::info("broker: keeps up again; callbacks go to it");
  }
  lock.lock();
}

Intake::Intake(Options options, Publisher& publisher, Outbox& outbox, Metrics& metrics)
    : core_(std::make_shared<Core>(options, publisher, outbox, metrics)) {
  core_->watch_publisher();
}

Intake::~Intake() { stop(); }

void Intake::start() { core_->start(); }

void Intake::stop() { core_->stop(); }

void Intake::accept(const std::string& lines, UnixTime received_at, Done done,
                    SteadyClock::time_point arrived_at, uint32_t callbacks) {
  core_->accept(lines, received_at, std::move(done), arrived_at, callbacks);
}

std::optional<UnixTime> Intake::oldest_unforwarded() const { return core_->oldest_unforwarded(); }

void Intake::forwarded_before(UnixTime oldest_received_at) {
  core_->forwarded_before(oldest_received_at);
}

void Intake::forwarded_settled() { core_->forwarded_settled(); }

bool Intake::breaker_open() const { return core_->breaker_open(); }

}  // namespace postoffice
