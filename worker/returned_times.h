#pragma once

#include <functional>
#include <mutex>
#include <optional>

#include "base/time.h"

namespace postoffice {

// The receive time of the oldest callback that went back to the queue unprocessed. Nobody holds it
// until it is delivered again, so this worker goes on reporting it for a while: until the broker
// has been there for `keep`, which is more than a redelivery takes, or, if the broker stays away,
// for `most`. Thread-safe.
class ReturnedTimes {
 public:
  struct Options {
    Millis keep{10'000};
    Millis most = std::chrono::minutes(10);
  };

  explicit ReturnedTimes(const Options& options) : options_(options) {}

  void returned(std::optional<UnixTime> oldest, SteadyClock::time_point now = SteadyClock::now());
  // `is_connected`: the broker is there, so deliveries may be under way.
  std::optional<UnixTime> oldest(bool is_connected,
                                 SteadyClock::time_point now = SteadyClock::now());
  // As long as this lives, from now on: what goes back is this worker's last word.
  void keep_all();

 private:
  const Options options_;
  std::mutex mutex_;  // Guards what follows.
  std::optional<UnixTime> oldest_;
  SteadyClock::time_point returned_at_{};
  SteadyClock::time_point connected_since_{};
  bool is_kept_ = false;
};

}  // namespace postoffice
