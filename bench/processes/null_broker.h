#pragma once

#include <sys/types.h>

#include <cstdint>

namespace postoffice::bench {

// A process that speaks as much AMQP as the load generator needs, confirms everything at once,
// delivers it and keeps nothing. What is measured against it is the load generator's own ceiling.
class NullBroker {
 public:
  NullBroker();
  ~NullBroker();
  NullBroker(const NullBroker&) = delete;
  NullBroker& operator=(const NullBroker&) = delete;

  uint16_t port() const { return port_; }
  pid_t pid() const { return pid_; }

 private:
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace postoffice::bench
