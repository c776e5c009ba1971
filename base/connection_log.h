#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace postoffice {

// Logs each lost and each regained connection once, whatever the number of retries between.
// Thread-safe.
class ConnectionLog {
 public:
  // `peer` names the other side in the log, e.g. "RabbitMQ". Addresses given below must carry no
  // password.
  explicit ConnectionLog(std::string peer) : peer_(std::move(peer)) {}

  void connected(std::string_view address);
  void lost(std::string_view why);

 private:
  enum class State { kNever, kConnected, kLost };

  const std::string peer_;
  std::mutex mutex_;
  State state_ = State::kNever;
};

}  // namespace postoffice
