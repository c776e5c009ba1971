#include "broker/interrupt.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace postoffice {

void Interrupt::fire() noexcept {
  const std::lock_guard lock(mutex_);
  fired_ = true;
  if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
  wakeup_.ring();
}

bool Interrupt::fired() const noexcept {
  const std::lock_guard lock(mutex_);
  return fired_;
}

void Interrupt::attach(int socket) {
  const int duplicate = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) throw Transient("too many open files");
  detach();
  const std::lock_guard lock(mutex_);
  socket_ = duplicate;
  if (fired_) ::shutdown(socket_, SHUT_RDWR);
}

void Interrupt::detach() noexcept {
  const std::lock_guard lock(mutex_);
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

}  // namespace postoffice
