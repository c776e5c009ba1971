#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/amqp_connection.h"

namespace postoffice::e2e {

struct RawMessage {
  std::string body;
  std::map<std::string, std::string> headers;
};

// What an operator does at the broker: looks into queues, publishes, deletes. A connection of its
// own.
class RawBroker {
 public:
  explicit RawBroker(const std::string& amqp_url);

  void delete_queue(const std::string& queue);
  void delete_exchange(const std::string& exchange);
  // A queue of this connection's own that gets a copy of what the exchange routes by `routing_key`
  // from now on; its name.
  std::string tap(const std::string& exchange, const std::string& routing_key);
  // Into the queue, by the default exchange, persistent.
  void publish(const std::string& queue, const std::string& body);
  // Takes and acknowledges all that is ready.
  std::vector<RawMessage> take_all(const std::string& queue);
  // Ready messages; 0 when there is no such queue.
  uint32_t length(const std::string& queue);

 private:
  void open_channel();
  bool succeeded(const char* doing);

  std::unique_ptr<AmqpConnection> connection_;
  amqp_channel_t channel_ = 0;
};

}  // namespace postoffice::e2e
