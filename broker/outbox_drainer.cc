#include "broker/outbox_drainer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "broker/callback_message.h"
#include "broker/topology.h"

namespace postoffice {
namespace {

constexpr size_t kReadAhead = 64;  // Entries.
// How often it looks again when nothing rings.
constexpr auto kLookAgain = Millis(1000);

}  // namespace

// What other threads tell the drainer's thread.
class OutboxDrainer::Signals {
 public:
  void settle(uint64_t number, PublishOutcome outcome) {
    const auto now = SteadyClock::now();
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    settled_.push_back({number, outcome, now});
    changed_.notify_one();
  }

  void ring() {
    const std::lock_guard lock(mutex_);
    rung_ = true;
    changed_.notify_one();
  }

  void became_available() {
    const std::lock_guard lock(mutex_);
    rung_ = available_again_ = true;
    changed_.notify_one();
  }

  void start() {
    const std::lock_guard lock(mutex_);
    stopping_ = stopped_ = false;
    rung_ = true;
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }

  // What the publisher settles from here on is nobody's business.
  void stopped() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    settled_.clear();
  }

  bool stopping() const {
    const std::lock_guard lock(mutex_);
    return stopping_;
  }

  void begin_round() {
    const std::lock_guard lock(mutex_);
    rung_ = available_again_ = false;
  }

  // Until rung or stopped.
  void wait_for_ring(Millis timeout) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, timeout, [&] { return rung_ || stopping_; });
    rung_ = false;
  }

  // Until stopped or, if asked for, the publisher became available since begin_round().
  void wait_for_backoff(Millis delay, bool until_available) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, delay,
                      [&] { return stopping_ || (until_available && available_again_); });
  }

  // Until something is settled, `until`, stop() unless that is `known_stopping`, or, if
  // `more_wanted`, the outbox has got entries.
  std::vector<Settlement> wait_for_settled(SteadyClock::time_point until, bool known_stopping,
                                           bool more_wanted) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, until, [&] {
      return !settled_.empty() || stopping_ != known_stopping || (more_wanted && rung_);
    });
    rung_ = false;
    return std::exchange(settled_, {});
  }

 private:
  mutable std::mutex mutex_;  // Guards what follows. Nothing is called while it is held.
  std::condition_variable changed_;
  bool stopping_ = false;
  bool stopped_ = false;
  bool rung_ = false;
  bool available_again_ = false;
  std::vector<Settlement> settled_;
};

OutboxDrainer::OutboxDrainer(Options options, Publisher& publisher, Outbox& outbox,
                             ForwardedTimes& forwarded, Confirmed confirmed, Metrics& metrics)
    : options_(options),
      publisher_(publisher),
      outbox_(outbox),
      forwarded_(forwarded),
      confirmed_(std::move(confirmed)),
      forwarded_total_(metrics.counter("postoffice_outbox_forwarded_total",
                                       "Callbacks in the outbox that its drainer got confirmed.")),
      signals_(std::make_shared<Signals>()),
      backoff_(options.least_backoff, options.most_backoff) {}

void OutboxDrainer::start() {
  if (std::exchange(started_, true)) return;
  signals_->start();
  thread_ = Thread("outbox drainer", [this] { run(); });
}

void OutboxDrainer::stop() {
  signals_->stop();
  thread_.join();
  signals_->stopped();
  in_flight_.clear();
  started_ = false;
}

void OutboxDrainer::wake() { signals_->ring(); }

void OutboxDrainer::availability_changed(bool available) {
  if (available) signals_->became_available();
}

void OutboxDrainer::run() {
  while (!signals_->stopping()) {
    signals_->begin_round();
    const bool work = outbox_.depth().entries > 0;
    const Round round = work && publisher_.available() ? drain() : Round::kNothing;
    switch (round) {
      case Round::kNothing:
        if (work) outbox_.remove({});  // What a full disk has kept from being removed.
        signals_->wait_for_ring(kLookAgain);
        break;
      case Round::kDrained:
        backoff_.reset();
        break;
      case Round::kFailed:
        signals_->wait_for_backoff(backoff_.next(), false);
        break;
      case Round::kDisconnected:
        signals_->wait_for_backoff(backoff_.next(), true);
        break;
    }
  }
}

OutboxDrainer::Round OutboxDrainer::drain() {
  read_after_ = 0;
  read_ahead_.clear();
  round_ = Round::kNothing;
  std::optional<SteadyClock::time_point> give_up_at;
  for (;;) {
    const auto now = SteadyClock::now();
    const bool stopping = signals_->stopping();
    if (stopping && !give_up_at) give_up_at = now + options_.stop_wait;
    const bool sending = !stopping && round_ != Round::kFailed && round_ != Round::kDisconnected;
    const bool room_left = sending && fill_window();
    if (in_flight_.empty() || (give_up_at && now >= *give_up_at)) return round_;
    const auto until = std::min(give_up_at.value_or(now + kLookAgain), now + kLookAgain);
    take_settled(signals_->wait_for_settled(until, stopping, room_left));
  }
}

// Returns whether the window has room left because the outbox has nothing more.
bool OutboxDrainer::fill_window() {
  while (in_flight_.size() < options_.max_in_flight) {
    Message message;
    Forwarding forwarding;
    try {
      if (!next_message(message, forwarding)) return true;
      unreadable_logged_ = false;
    } catch (const Transient& error) {
      if (!std::exchange(unreadable_logged_, true)) spdlog::error("outbox: {}", error.what());
      round_ = Round::kFailed;
      return false;
    }
    if (round_ == Round::kNothing) round_ = Round::kDrained;
    send(std::move(message), std::move(forwarding));
  }
  return false;
}

// Entries that follow each other, as many as one message takes. False when there is none.
bool OutboxDrainer::next_message(Message& message, Forwarding& forwarding) {
  for (;;) {
    if (read_ahead_.empty()) {
      auto entries = outbox_.read(read_after_, kReadAhead);
      if (entries.empty()) break;
      read_after_ = entries.back().id;
      std::move(entries.begin(), entries.end(), std::back_inserter(read_ahead_));
    }
    OutboxEntry& entry = read_ahead_.front();
    if (forwarding.ids.empty()) {
      message.body = std::move(entry.body);
      forwarding.oldest_received_at = entry.oldest_received_at;
    } else if (message.body.size() + entry.body.size() <= kMessageBytes) {
      message.body += entry.body;
      forwarding.oldest_received_at =
          std::min(forwarding.oldest_received_at, entry.oldest_received_at);
    } else {
      break;
    }
    forwarding.ids.push_back(entry.id);
    forwarding.callbacks += entry.callbacks;
    read_ahead_.pop_front();
  }
  message.routing_key = topology::kCallbacks;
  return !forwarding.ids.empty();
}

void OutboxDrainer::send(Message message, Forwarding forwarding) {
  const uint64_t number = next_number_++;
  forwarding.sent_at = SteadyClock::now();
  in_flight_.emplace(number, std::move(forwarding));
  publisher_.publish(std::move(message), [signals = signals_, number](PublishOutcome outcome) {
    signals->settle(number, outcome);
  });
}

void OutboxDrainer::take_settled(const std::vector<Settlement>& settled) {
  std::vector<uint64_t> confirmed_ids;
  for (const auto& [number, outcome, at] : settled) {
    const auto found = in_flight_.find(number);
    if (found == in_flight_.end()) continue;  // Of before a stop().
    const Forwarding forwarding = std::move(found->second);
    in_flight_.erase(found);
    switch (outcome) {
      case PublishOutcome::kConfirmed:
        confirmed_(forwarding.sent_at, at);
        forwarded_.add(forwarding.oldest_received_at);
        forwarded_total_.Increment(forwarding.callbacks);
        confirmed_ids.insert(confirmed_ids.end(), forwarding.ids.begin(), forwarding.ids.end());
        break;
      case PublishOutcome::kReturned:
      case PublishOutcome::kNacked:
        round_ = Round::kFailed;
        break;
      case PublishOutcome::kUnavailable:
      case PublishOutcome::kUnknown:
        round_ = Round::kDisconnected;
        break;
    }
  }
  if (confirmed_ids.empty()) return;
  backoff_.reset();  // What gets on need not wait long.
  outbox_.remove(confirmed_ids);
}

}  // namespace postoffice
