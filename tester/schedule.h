#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

#include "base/time.h"

namespace postoffice::tester {

// Says when the next callback is due, to as many threads as there are connections. The first is due
// one period after construction. Thread-safe.
class Schedule {
 public:
  // Without `period` a callback is due whenever someone is free to send it; without `count` there
  // is no end.
  Schedule(std::optional<std::chrono::nanoseconds> period, std::optional<int64_t> count);

  // Blocks until a callback is due, which the caller then sends. False when there are no more. A
  // callback that nobody was free for is made up for within a second; what is later is skipped, so
  // that a pause is not followed by a burst. Skipped ones do not count as sent.
  bool wait_for_turn();

  // No more callbacks; wakes up everyone who waits. Idempotent.
  void stop();
  // Waits; false when it was cut short by stop().
  bool pause(Millis time);

  uint64_t skipped() const;

 private:
  using TimePoint = std::chrono::time_point<SteadyClock, std::chrono::nanoseconds>;

  // The time at which the callback that is asked for is due.
  TimePoint take_turn();

  const std::optional<std::chrono::nanoseconds> period_;
  mutable std::mutex mutex_;
  std::condition_variable stopping_changed_;
  // Guarded by mutex_.
  std::optional<int64_t> left_;
  TimePoint next_due_;
  uint64_t skipped_ = 0;
  bool stopping_ = false;
};

}  // namespace postoffice::tester
