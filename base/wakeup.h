#pragma once

namespace postoffice {

// An eventfd that one thread polls beside its socket and any other thread rings.
class Wakeup {
 public:
  Wakeup();  // Throws std::system_error when no file descriptor is left.
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // Readable once rung, until cleared. For poll(2).
  int fd() const { return fd_; }

  // Any thread, also a signal handler. Never blocks.
  void ring() const noexcept;
  void clear() const noexcept;

 private:
  int fd_;
};

}  // namespace postoffice
