#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "broker/intake.h"

namespace postoffice {

// What became of lines, each by its text. Outlives whoever holds its callbacks.
class Answers {
 public:
  Intake::Done done(const std::string& line) {
    return [this, line](Accepted accepted) {
      const std::lock_guard lock(mutex_);
      all_[line].push_back(accepted);
      ++count_;
      changed_.notify_all();
    };
  }

  // False when there are not `count` answers within 10 s.
  bool wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return count_ >= count; });
  }
  size_t count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  std::vector<Accepted> of(const std::string& line) const {
    const std::lock_guard lock(mutex_);
    const auto found = all_.find(line);
    return found == all_.end() ? std::vector<Accepted>{} : found->second;
  }
  std::map<std::string, std::vector<Accepted>> all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<Accepted>> all_;
  size_t count_ = 0;
};

}  // namespace postoffice
