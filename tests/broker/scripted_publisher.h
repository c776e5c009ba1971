#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/publisher.h"

namespace postoffice {

// A Publisher that does what the test says. Settles on a thread of its own, as the real one does.
class ScriptedPublisher final : public Publisher {
 public:
  // What becomes of a message; nothing: it is held until the test settles it.
  using Script = std::function<std::optional<PublishOutcome>(const Message&)>;

  explicit ScriptedPublisher(bool available = true) : available_(available) {
    script_ = [](const Message&) { return std::nullopt; };
    thread_ = std::jthread([this] { run(); });
  }

  ~ScriptedPublisher() override {
    settle_held(PublishOutcome::kUnknown);
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  static Script always(PublishOutcome outcome) {
    return [outcome](const Message&) { return outcome; };
  }
  static Script hold() {
    return [](const Message&) { return std::nullopt; };
  }

  // Returns when what was settled so far has been told.
  void flush() {
    std::unique_lock lock(mutex_);
    bool flushed = false;
    jobs_.emplace_back([this, &flushed] {
      const std::lock_guard flushed_lock(mutex_);
      flushed = true;
    });
    changed_.notify_all();
    changed_.wait(lock, [&] { return flushed; });
  }

  // For messages published from now on.
  void set_script(Script script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }

  // As if the connection were lost, or regained; or, with `lose_unsettled` false, as if the broker
  // had blocked publishers. Returns after the callback ran.
  void set_available(bool available, bool lose_unsettled = true) {
    std::unique_lock lock(mutex_);
    if (!available && lose_unsettled) settle_held_locked(PublishOutcome::kUnknown);
    available_ = available;
    bool told = false;
    jobs_.emplace_back([this, available, &told] {
      if (changed_callback_) changed_callback_(available);
      const std::lock_guard told_lock(mutex_);
      told = true;
    });
    changed_.notify_all();
    changed_.wait(lock, [&] { return told; });
  }

  // Settles what is held, in the order of publishing.
  void settle_held(PublishOutcome outcome) {
    const std::lock_guard lock(mutex_);
    settle_held_locked(outcome);
  }
  void settle_first_held(PublishOutcome outcome) {
    const std::lock_guard lock(mutex_);
    auto settled = std::move(held_.front().second);
    settle_locked(held_.front().first, std::move(settled), outcome);
    held_.pop_front();
  }

  // False when `count` messages were not published within 10 s.
  bool wait_for_published(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return published_.size() >= count; });
  }
  bool wait_for_held(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return held_.size() >= count; });
  }

  // The bodies of all messages published, and of those confirmed.
  std::vector<std::string> published() const {
    const std::lock_guard lock(mutex_);
    return published_;
  }
  std::vector<std::string> confirmed() const {
    const std::lock_guard lock(mutex_);
    return confirmed_;
  }
  size_t most_held() const {
    const std::lock_guard lock(mutex_);
    return most_held_;
  }

  void publish(Message message, Settled settled) override {
    {
      const std::lock_guard lock(mutex_);
      if (available_) {
        published_.push_back(message.body);
        if (const auto outcome = script_(message)) {
          settle_locked(std::move(message.body), std::move(settled), *outcome);
        } else {
          held_.emplace_back(std::move(message.body), std::move(settled));
          most_held_ = std::max(most_held_, held_.size());
        }
        changed_.notify_all();
        return;
      }
    }
    settled(PublishOutcome::kUnavailable);
  }

  bool available() const override {
    const std::lock_guard lock(mutex_);
    return available_;
  }

  void on_availability(AvailabilityChanged changed) override {
    const std::lock_guard lock(mutex_);
    changed_callback_ = std::move(changed);
  }

 private:
  void settle_held_locked(PublishOutcome outcome) {
    for (auto& [body, settled] : held_) {
      settle_locked(std::move(body), std::move(settled), outcome);
    }
    held_.clear();
  }

  void settle_locked(std::string body, Settled settled, PublishOutcome outcome) {
    if (outcome == PublishOutcome::kConfirmed) {
      confirmed_.push_back(std::move(body));
    }
    jobs_.emplace_back([settled = std::move(settled), outcome] { settled(outcome); });
    changed_.notify_all();
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
      changed_.notify_all();
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool available_;
  bool stopping_ = false;
  Script script_;
  AvailabilityChanged changed_callback_;
  std::vector<std::string> published_;
  std::vector<std::string> confirmed_;
  std::deque<std::pair<std::string, Settled>> held_;
  size_t most_held_ = 0;
  std::deque<std::function<void()>> jobs_;
  std::jthread thread_;
};

}  // namespace postoffice
