#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/amqp_url.h"

namespace postoffice {

// What a passive declare says of a queue.
struct QueueReading {
  uint32_t messages = 0;  // Ready, not delivered.
  uint32_t consumers = 0;
  SteadyClock::time_point asked_at;  // Before the question was sent.
  uint64_t number = 0;               // Counts readings from 1.
};

// Asks for the length of topology::kCallbacks and kCallbacksDead once a second, on a connection of
// its own, so that nothing waits for it. Sets gauge postoffice_queue_messages{queue}. Thread-safe.
// RabbitMQ can answer 0 after an internal timeout: one empty reading proves nothing.
class QueueMonitor {
 public:
  QueueMonitor(std::vector<AmqpUrl> urls, Metrics& metrics);
  ~QueueMonitor();
  void start();
  void stop();

  // The newest reading of kCallbacks; nothing while the broker is away (older than 5 s does not
  // count).
  std::optional<QueueReading> callbacks() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace postoffice
