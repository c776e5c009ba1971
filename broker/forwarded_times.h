#pragma once

#include <mutex>
#include <optional>

#include "base/time.h"

namespace postoffice {

// The receive time of the oldest callback that went from the outbox to the queue and may still be
// there. Thread-safe.
//
// The queue's length is read before settled() is called for it, and something may have been
// forwarded in between: so a time is forgotten at the second call after it was added.
class ForwardedTimes {
 public:
  // Before the entry leaves the outbox, so that it is always counted in one of the two.
  void add(UnixTime oldest_received_at) {
    const std::lock_guard lock(mutex_);
    fresh_ = earlier(fresh_, oldest_received_at);
  }

  // The queue was seen empty.
  void settled() {
    const std::lock_guard lock(mutex_);
    seen_once_ = fresh_;
    fresh_.reset();
  }

  std::optional<UnixTime> oldest() const {
    const std::lock_guard lock(mutex_);
    return earlier(fresh_, seen_once_);
  }

 private:
  mutable std::mutex mutex_;
  std::optional<UnixTime> fresh_;
  std::optional<UnixTime> seen_once_;
};

}  // namespace postoffice
