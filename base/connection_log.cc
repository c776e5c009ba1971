#include "base/connection_log.h"

#include <spdlog/spdlog.h>

namespace postoffice {

void ConnectionLog::connected(std::string_view address) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kConnected) return;
  spdlog::info("{}: {} {}", peer_, state_ == State::kNever ? "connected to" : "regained", address);
  state_ = State::kConnected;
}

void ConnectionLog::lost(std::string_view why) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kLost) return;
  spdlog::warn("{}: {}: {}; trying again until it is back", peer_,
               state_ == State::kNever ? "cannot connect" : "lost", why);
  state_ = State::kLost;
}

}  // namespace postoffice
