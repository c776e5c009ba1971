#include "worker/returned_times.h"

namespace postoffice {

void ReturnedTimes::returned(std::optional<UnixTime> oldest, SteadyClock::time_point now) {
  if (!oldest) return;
  const std::lock_guard lock(mutex_);
  oldest_ = earlier(oldest_, oldest);
  returned_at_ = now;
  connected_since_ = now;
}

std::optional<UnixTime> ReturnedTimes::oldest(bool is_connected, SteadyClock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!is_connected) connected_since_ = now;
  const bool is_over =
      now - connected_since_ >= options_.keep || now - returned_at_ >= options_.most;
  if (is_over && !is_kept_) oldest_.reset();
  return oldest_;
}

void ReturnedTimes::keep_all() {
  const std::lock_guard lock(mutex_);
  is_kept_ = true;
}

}  // namespace postoffice
