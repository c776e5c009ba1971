#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "base/time.h"

namespace postoffice {

// The receive time of the oldest callback that went from the outbox to the queue and may still be
// there. Thread-safe.
//
// The queue's length is read before settled() is called for it, and something may have been
// forwarded in between: so a time is forgotten at the second call after it was added. Where the
// queue is never empty, it is forgotten after kMost, like what processes held that vanished.
class ForwardedTimes {
 public:
  static constexpr Millis kMost = std::chrono::minutes(10);

  // Before the entry leaves the outbox, so that it is always counted in one of the two.
  void add(UnixTime oldest_received_at, SteadyClock::time_point now = SteadyClock::now());

  // The queue was seen empty.
  void settled();

  std::optional<UnixTime> oldest(SteadyClock::time_point now = SteadyClock::now());

 private:
  // What was added within kTogether.
  struct Added {
    UnixTime oldest_received_at;
    SteadyClock::time_point first;
    SteadyClock::time_point last;
    bool seen_once = false;  // An empty queue, since.
  };
  static constexpr Millis kTogether = std::chrono::seconds(10);

  std::mutex mutex_;
  std::vector<Added> added_;  // In the order of time; guarded by mutex_.
};

}  // namespace postoffice
