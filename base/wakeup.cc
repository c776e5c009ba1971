#include "base/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace postoffice {

Wakeup::Wakeup() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Wakeup::~Wakeup() { close(fd_); }

void Wakeup::ring() const noexcept {
  const uint64_t one = 1;
  // EAGAIN means that it is ringing already.
  [[maybe_unused]] const auto written = write(fd_, &one, sizeof one);
}

void Wakeup::clear() const noexcept {
  uint64_t rings = 0;
  [[maybe_unused]] const auto got = read(fd_, &rings, sizeof rings);
}

}  // namespace postoffice
