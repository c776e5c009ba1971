#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "broker/embedded/frame.h"

namespace postoffice::bench {

// Frames from and bytes to a non-blocking socket, which it does not own.
class FrameSocket {
 public:
  explicit FrameSocket(int fd) : fd_(fd), input_(kInputBytes) {}

  int fd() const { return fd_; }
  // Reads once, and calls `handle(const embedded::Frame&)` for each frame that is complete. Throws
  // std::runtime_error when the other side has closed.
  template <typename Handle>
  void read(const Handle& handle) {
    fill();
    while (true) {
      const auto frame = embedded::parse_frame(waiting(), kInputBytes);
      if (frame.bytes == 0) break;
      begin_ += frame.bytes;
      handle(frame);
    }
    compact();
  }
  // Writes as much as the socket takes now, and returns how much that was.
  size_t send(std::string_view bytes) const;

  // For what comes before the first frame: what was read, and what of it is done with.
  void fill();
  std::string_view waiting() const { return {input_.data() + begin_, end_ - begin_}; }
  void skip(size_t bytes) { begin_ += bytes; }

 private:
  static constexpr size_t kInputBytes = 512 << 10;

  void compact();

  const int fd_;
  std::vector<char> input_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace postoffice::bench
