#pragma once

#include <mutex>
#include <string>

#include "base/connection_log.h"

namespace postoffice {

// Whether the database answers, from what the threads that use it see. Logs each loss and each
// return once. Thread-safe.
class DatabaseHealth {
 public:
  enum class User { kWriter, kReporter };

  void answered(User user, const std::string& description);
  void failed(User user, const std::string& why);

  bool ok() const;
  // One line for /readyz.
  std::string status() const;

 private:
  mutable std::mutex mutex_;  // Guards what follows.
  ConnectionLog log_{"database"};
  bool has_failed_[2] = {false, false};
  bool has_answered_ = false;
  std::string status_ = "not reached yet";
};

}  // namespace postoffice
