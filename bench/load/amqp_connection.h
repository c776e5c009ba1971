#pragma once

#include <amqp.h>

#include <cstdint>
#include <memory>
#include <string>

namespace postoffice::bench {

enum class QueueKind { kClassic, kQuorum };

// A client's connection to a broker on loopback, as guest, with one channel (1) and no heartbeats.
// librabbitmq does the handshake and what is asked once; the load is written and read on its
// socket. Everything throws std::runtime_error.
class AmqpConnection {
 public:
  explicit AmqpConnection(uint16_t port);

  // Durable.
  void declare_queue(const std::string& name, QueueKind kind);
  void delete_queue(const std::string& name);
  // A passive declare; it may be asked only of a queue that exists.
  uint32_t ready(const std::string& name);
  void select_confirms();
  void set_prefetch(uint16_t count);

  // From then on the caller reads and writes, without blocking, and nothing else here is called.
  int take_socket();

 private:
  struct Destroy {
    void operator()(amqp_connection_state_t connection) const {
      amqp_destroy_connection(connection);
    }
  };

  void check(const char* what);

  std::unique_ptr<amqp_connection_state_t_, Destroy> connection_;
};

}  // namespace postoffice::bench
