#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>

namespace postoffice::bench {

// Clients of a server on loopback that send one byte of a request a second, and connect again
// whenever the server gives them up. They go when the object does.
class SlowClients {
 public:
  SlowClients(uint16_t port, size_t count);
  ~SlowClients();
  SlowClients(const SlowClients&) = delete;
  SlowClients& operator=(const SlowClients&) = delete;

 private:
  void run(uint16_t port, size_t count) const;

  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace postoffice::bench
