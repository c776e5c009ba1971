#pragma once

#include <pthread.h>

#include <cstddef>
#include <functional>
#include <string>

namespace postoffice {

// A joined thread with a name (15 characters show in ps and gdb) and, for those that come by the
// thousand, a stack size. An exception that reaches the top of `body` is logged and ends the
// process: state behind it is unknown, and everything accepted is durable elsewhere.
class Thread {
 public:
  // `stack_bytes` 0 is the system's default. Throws std::system_error when no thread can be had.
  Thread(std::string name, std::function<void()> body, size_t stack_bytes = 0);
  Thread() = default;
  ~Thread() { join(); }
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;

  // Fine to call twice, and on a thread that never started.
  void join();

 private:
  pthread_t handle_{};
  bool joinable_ = false;
};

}  // namespace postoffice
