#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/thread.h"
#include "base/time.h"

namespace postoffice {

// Of the time to stop: what is left for the broker and the disk after the work has ended.
inline Millis closing_time(Millis stop_timeout) { return std::min(stop_timeout / 4, Millis(1000)); }

// Ends the process in order (status 0) at `deadline`, unless it is destroyed before: the last
// resort when something hangs while stopping, such as a database that does not answer. By then
// nothing can be lost by it.
class ExitDeadline {
 public:
  explicit ExitDeadline(SteadyClock::time_point deadline);
  ~ExitDeadline();
  ExitDeadline(const ExitDeadline&) = delete;
  ExitDeadline& operator=(const ExitDeadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  Thread thread_;
};

}  // namespace postoffice
