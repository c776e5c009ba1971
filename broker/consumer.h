#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/amqp_url.h"

namespace postoffice {

// Names one delivery. A delivery of a connection that was lost has been requeued by the broker:
// settling it is ignored.
struct DeliveryTag {
  uint64_t connection = 0;  // Counts connections from 1.
  uint64_t tag = 0;         // AMQP delivery tag, from 1 on each connection.
};

struct Delivery {
  DeliveryTag tag;
  std::string body;
  uint64_t delivery_count =
      0;  // x-delivery-count of quorum queues: failed deliveries before this one.
  bool redelivered = false;
};

// Settles deliveries. Thread-safe; never blocks.
class Settler {
 public:
  virtual ~Settler() = default;
  // basic.ack; acks that come together are sent together.
  virtual void ack(DeliveryTag tag) = 0;
  // basic.nack with requeue.
  virtual void requeue(DeliveryTag tag) = 0;
  // While false, nothing more is read than heartbeats need, so that the broker is held back by TCP.
  virtual void set_reading(bool reading) = 0;
};

// Consumes one queue on one connection owned by one thread that reconnects by itself. Thread-safe.
class Consumer final : public Settler {
 public:
  struct Options {
    std::vector<AmqpUrl> urls;
    std::string name;
    std::string queue;
    uint16_t prefetch = 1000;  // Most deliveries unsettled at once.
    std::string hint = {};     // See ConnectionKeeper.
  };
  struct Handler {
    // Both on the consumer's thread.
    std::function<void(Delivery)> on_delivery;
    // Every unsettled delivery of connections up to and with this one is back in the queue.
    std::function<void(uint64_t connection)> on_lost;
  };

  Consumer(Options options, Handler handler, Metrics& metrics);
  ~Consumer() override;

  void start();
  // Cancels the consumer: no further deliveries; settling goes on until stop().
  void cancel();
  // Sends what was settled, closes; the broker requeues the rest. Idempotent. Bounded by
  // `deadline`.
  void stop(SteadyClock::time_point deadline);

  void ack(DeliveryTag tag) override;
  void requeue(DeliveryTag tag) override;
  void set_reading(bool reading) override;

  bool connected() const;
  std::string status() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace postoffice
