#include "worker/deadline_stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace postoffice {
namespace {

constexpr size_t kMostHeadBytes = 16 * 1024;
// cpp-httplib matches status lines with std::regex, which recurses for each character: on the small
// stack of a fetch thread a long one would be the end.
constexpr size_t kMostStatusLineBytes = 256;
constexpr std::string_view kStatusLineStart = "HTTP/";

}  // namespace

DeadlineStream::DeadlineStream(int fd, int stop_fd, SteadyClock::time_point deadline,
                               size_t most_bytes, FirstWait first_wait)
    : fd_(fd),
      stop_fd_(stop_fd),
      deadline_(deadline),
      most_bytes_(most_bytes),
      blocks_(first_wait == FirstWait::kBlocks) {}

ssize_t DeadlineStream::read(char* ptr, size_t size) {
  if (end_ != End::kNone && end_ != End::kClosed) return -1;
  if (begin_ == end_of_buffer_) {
    const ssize_t got = fill();
    if (got <= 0) return got;
  }
  const size_t taken = std::min(size, end_of_buffer_ - begin_);
  std::memcpy(ptr, buffer_.data() + begin_, taken);
  begin_ += taken;
  if (in_head_ && !within_head_bounds(ptr, taken)) return fail(End::kTooLarge);
  return static_cast<ssize_t>(taken);
}

ssize_t DeadlineStream::fill() {
  if (end_ == End::kClosed) return 0;
  for (;;) {
    const bool blocks = std::exchange(blocks_, false);
    if (!blocks && !wait_for(POLLIN)) return -1;
    const ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), blocks ? 0 : MSG_DONTWAIT);
    if (got > 0) {
      begin_ = 0;
      end_of_buffer_ = static_cast<size_t>(got);
      received_ += static_cast<size_t>(got);
      return received_ > most_bytes_ ? fail(End::kTooLarge) : got;
    }
    if (got == 0) {
      end_ = End::kClosed;
      return 0;
    }
    if (errno != EAGAIN && errno != EINTR) return fail(End::kBroken, errno);
  }
}

bool DeadlineStream::within_head_bounds(const char* ptr, size_t size) {
  head_bytes_ += size;
  for (size_t i = 0; i < size; ++i) {
    if (ptr[i] == '\n') {
      line_bytes_ = 0;
      continue;
    }
    if (line_bytes_ < kStatusLineStart.size()) {
      const bool matches = ptr[i] == kStatusLineStart[line_bytes_];
      is_status_line_ = matches && (line_bytes_ == 0 || is_status_line_);
    }
    ++line_bytes_;
    if (is_status_line_ && line_bytes_ > kMostStatusLineBytes) return false;
  }
  return head_bytes_ <= kMostHeadBytes;
}

ssize_t DeadlineStream::write(const char* ptr, size_t size) {
  for (;;) {
    if (end_ != End::kNone) return -1;
    const ssize_t sent = send(fd_, ptr, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail(End::kBroken, errno);
    if (!wait_for(POLLOUT)) return -1;
  }
}

bool DeadlineStream::wait_for(short events) {
  pollfd fds[] = {{fd_, events, 0}, {stop_fd_, POLLIN, 0}};
  for (;;) {
    const auto left = std::chrono::ceil<Millis>(deadline_ - SteadyClock::now()).count();
    const int ready = poll(fds, 2, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) {
      fail(End::kBroken, errno);
    } else if (fds[1].revents != 0) {
      fail(End::kStopped);
    } else if (SteadyClock::now() >= deadline_) {
      fail(End::kTimeout);  // Also by a service that always has one more byte.
    }
    return end_ == End::kNone;
  }
}

ssize_t DeadlineStream::fail(End end, int error) {
  end_ = end;
  error_ = error;
  return -1;
}

bool DeadlineStream::is_readable() const {
  pollfd fds[] = {{fd_, POLLIN, 0}};
  return begin_ != end_of_buffer_ || poll(fds, 1, 0) > 0;
}

bool DeadlineStream::is_writable() const {
  pollfd fds[] = {{fd_, POLLOUT, 0}};
  return poll(fds, 1, 0) > 0;
}

void DeadlineStream::get_remote_ip_and_port(std::string& /*ip*/, int& /*port*/) const {}
void DeadlineStream::get_local_ip_and_port(std::string& /*ip*/, int& /*port*/) const {}

}  // namespace postoffice
