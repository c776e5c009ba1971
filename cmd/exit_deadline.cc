#include "cmd/exit_deadline.h"

#include <spdlog/spdlog.h>

#include <cstdlib>

namespace postoffice {

ExitDeadline::ExitDeadline(SteadyClock::time_point deadline)
    : thread_("exit-deadline", [this, deadline] {
        std::unique_lock lock(mutex_);
        if (changed_.wait_until(lock, deadline, [this] { return cancelled_; })) return;
        spdlog::warn("something hangs: ending without it");
        spdlog::default_logger()->flush();
        std::_Exit(0);
      }) {}

ExitDeadline::~ExitDeadline() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

}  // namespace postoffice
