#include "worker/database_health.h"

namespace postoffice {

void DatabaseHealth::answered(User user, const std::string& description) {
  const std::lock_guard lock(mutex_);
  auto& has_failed = has_failed_[static_cast<int>(user)];
  if (has_answered_ && !has_failed) return;
  has_answered_ = true;
  has_failed = false;
  if (has_failed_[0] || has_failed_[1]) return;
  status_ = description;
  log_.connected(description);
}

void DatabaseHealth::failed(User user, const std::string& why) {
  const std::lock_guard lock(mutex_);
  has_failed_[static_cast<int>(user)] = true;
  status_ = why;
  log_.lost(why);
}

bool DatabaseHealth::ok() const {
  const std::lock_guard lock(mutex_);
  return has_answered_ && !has_failed_[0] && !has_failed_[1];
}

std::string DatabaseHealth::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace postoffice
