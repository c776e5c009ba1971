#pragma once

#include <atomic>

#include "base/time.h"

namespace postoffice {

// Whether callbacks bypass the broker. Open after one miss; closed again by a message that was sent
// after that and confirmed within the deadline, or when there is nothing to send one with.
// is_open() is thread-safe; the rest is guarded by the owner.
class Breaker {
 public:
  explicit Breaker(Millis deadline) : deadline_(deadline) {}

  bool is_open() const { return open_.load(std::memory_order_relaxed); }

  void open(SteadyClock::time_point now, const char* why) {
    open_ = true;
    opened_at_ = now;
    why_ = why;
  }

  void close() { open_ = false; }

  // A message sent at `sent_at` was confirmed at `settled_at`.
  void confirmed(SteadyClock::time_point sent_at, SteadyClock::time_point settled_at) {
    if (sent_at >= opened_at_ && settled_at - sent_at <= deadline_) open_ = false;
  }

  const char* why() const { return why_; }

 private:
  const Millis deadline_;
  std::atomic<bool> open_ = false;
  SteadyClock::time_point opened_at_;
  const char* why_ = "";
};

}  // namespace postoffice
