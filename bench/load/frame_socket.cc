#include "bench/load/frame_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace postoffice::bench {

void FrameSocket::fill() {
  const ssize_t got = recv(fd_, input_.data() + end_, input_.size() - end_, 0);
  if (got > 0) end_ += static_cast<size_t>(got);
  if (got == 0) throw std::runtime_error("the other side closed the connection");
  if (got < 0 && errno != EAGAIN && errno != EINTR) {
    throw std::system_error(errno, std::generic_category(), "recv");
  }
}

void FrameSocket::compact() {
  std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
}

size_t FrameSocket::send(std::string_view bytes) const {
  const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<size_t>(sent);
  if (errno == EAGAIN || errno == EINTR) return 0;
  throw std::system_error(errno, std::generic_category(), "send");
}

}  // namespace postoffice::bench
