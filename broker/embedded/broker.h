#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "broker/embedded/log.h"

namespace postoffice::embedded {

// An AMQP 0-9-1 broker (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, with RabbitMQ's
// extensions) for one machine: durable on local disk, without clustering. One thread serves all
// connections, another writes the log.
class Broker {
 public:
  struct Options {
    std::filesystem::path folder;  // Of its log; made when it is missing.
    uint16_t port = 5672;          // 0: any that is free.
    // Addresses to listen on. Both loopback addresses, since many clients try ::1 first.
    std::vector<std::string> addresses = {"127.0.0.1", "::1"};
    std::string user;  // Beside guest, which is let in from loopback only.
    std::string password;
    std::vector<std::string> vhosts = {"/"};
    uint64_t memory_bytes = 16 << 20;      // Of messages, before they are on disk only.
    uint64_t least_free_bytes = 50 << 20;  // On disk, below which publishers are held back.
    // Free bytes of the disk; unset: what the file system says.
    std::function<uint64_t()> free_bytes = {};
    uint32_t segment_bytes = 64 << 20;  // Of the log.
    LogDisk disk = {};
    // Called once, on the broker's thread, when the disk has failed: every publish is refused from
    // then on.
    std::function<void()> failed = {};
  };

  // Recovers what the log holds and opens the port. Throws Permanent when the port is in use or the
  // folder cannot be used, Transient when the disk cannot be read just now. `metrics` outlives
  // this.
  Broker(const Options& options, Metrics& metrics);
  ~Broker();  // stop()

  void start();
  // Closes all connections, and returns when everything is on disk. Idempotent.
  void stop();

  uint16_t port() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace postoffice::embedded
