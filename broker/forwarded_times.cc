#include "broker/forwarded_times.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace postoffice {

void ForwardedTimes::add(UnixTime oldest_received_at, SteadyClock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (added_.empty() || added_.back().seen_once || now - added_.back().first >= kTogether) {
    added_.push_back({oldest_received_at, now, now});
    return;
  }
  Added& newest = added_.back();
  newest.oldest_received_at = std::min(newest.oldest_received_at, oldest_received_at);
  newest.last = now;
}

void ForwardedTimes::settled() {
  const std::lock_guard lock(mutex_);
  std::erase_if(added_, [](const Added& added) { return added.seen_once; });
  for (Added& added : added_) added.seen_once = true;
}

std::optional<UnixTime> ForwardedTimes::oldest(SteadyClock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto forgotten =
      std::erase_if(added_, [now](const Added& added) { return now - added.last >= kMost; });
  if (forgotten > 0) {
    spdlog::warn(
        "outbox: callbacks were forwarded 10 minutes ago, and the queue was never empty since; "
        "they "
        "no longer keep objects from expiring");
  }
  std::optional<UnixTime> oldest;
  for (const Added& added : added_) oldest = earlier(oldest, added.oldest_received_at);
  return oldest;
}

}  // namespace postoffice
