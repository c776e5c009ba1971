#pragma once

#include <httplib.h>

#include <array>
#include <cstddef>
#include <string>

#include "base/time.h"

namespace postoffice {

// A socket as cpp-httplib reads it, with what cpp-httplib lacks: a deadline for the whole exchange,
// so that a service that trickles cannot stretch it; an end at once when the process stops; and
// bounds for what is read. Used for one exchange by one thread.
class DeadlineStream final : public httplib::Stream {
 public:
  enum class End {
    kNone,      // Nothing is wrong.
    kTimeout,   // The deadline passed.
    kClosed,    // The service closed the connection.
    kBroken,    // An error of the connection; see error().
    kTooLarge,  // The head of the answer or all of it is larger than an answer may be.
    kStopped,   // `stop_fd` became readable.
  };

  // How it waits for the first byte.
  enum class FirstWait {
    kPolls,   // On both descriptors.
    kBlocks,  // In recv(2), at half the cost: the socket's SO_RCVTIMEO ends it, or shutdown(2) by
              // who stops it.
  };
  // `most_bytes`: of the whole answer. Owns neither descriptor.
  DeadlineStream(int fd, int stop_fd, SteadyClock::time_point deadline, size_t most_bytes,
                 FirstWait first_wait = FirstWait::kPolls);

  ssize_t read(char* ptr, size_t size) override;
  ssize_t write(const char* ptr, size_t size) override;
  bool is_readable() const override;
  bool is_writable() const override;
  socket_t socket() const override { return fd_; }
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;

  // To be called when the head of the answer has been read: the bounds for heads end here.
  void end_head() { in_head_ = false; }

  End end() const { return end_; }
  int error() const { return error_; }
  bool received_any() const { return received_ > 0; }
  // Everything that was received has been read.
  bool is_drained() const { return begin_ == end_of_buffer_; }

 private:
  bool wait_for(short events);
  ssize_t fill();
  bool within_head_bounds(const char* ptr, size_t size);
  ssize_t fail(End end, int error = 0);

  const int fd_;
  const int stop_fd_;
  const SteadyClock::time_point deadline_;
  const size_t most_bytes_;
  bool blocks_;  // In the next recv().

  size_t received_ = 0;
  End end_ = End::kNone;
  int error_ = 0;

  bool in_head_ = true;
  size_t head_bytes_ = 0;
  size_t line_bytes_ = 0;
  bool is_status_line_ = false;

  size_t begin_ = 0;
  size_t end_of_buffer_ = 0;
  std::array<char, 2048> buffer_;
};

}  // namespace postoffice
