#pragma once

#include <condition_variable>
#include <mutex>

#include "base/thread.h"
#include "base/time.h"

namespace postoffice {

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
