#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "base/thread.h"
#include "base/time.h"

namespace postoffice {

// Counts threads that run, so that their end can be waited for with a deadline, which joining them
// does not know. Thread-safe.
class Running {
 public:
  // A thread that counts until `body` has ended; after that it touches nothing but its own stack.
  // Throws as Thread's constructor does.
  Thread start(std::string name, std::function<void()> body, size_t stack_bytes = 0) {
    began();
    try {
      return {std::move(name),
              [this, body = std::move(body)] {
                body();
                ended();
              },
              stack_bytes};
    } catch (...) {
      ended();
      throw;
    }
  }
  // False when some still run at `deadline`.
  bool wait_until_none(SteadyClock::time_point deadline) const {
    std::unique_lock lock(mutex_);
    return none_left_.wait_until(lock, deadline, [&] { return count_ == 0; });
  }

 private:
  void began() {
    const std::lock_guard lock(mutex_);
    ++count_;
  }
  void ended() {
    const std::lock_guard lock(mutex_);
    if (--count_ == 0) none_left_.notify_all();
  }

  mutable std::mutex mutex_;
  mutable std::condition_variable none_left_;
  size_t count_ = 0;
};

}  // namespace postoffice
