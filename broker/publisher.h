#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/amqp_url.h"

namespace postoffice {

// What became of a published message. Everything but kConfirmed means: keep it, publish it again.
enum class PublishOutcome {
  kConfirmed,  // basic.ack and not returned: stored by the broker in a queue.
  kReturned,   // basic.return: no queue took it, although an ack followed. The topology is declared
               // again.
  kNacked,     // basic.nack: the broker could not or would not store it.
  kUnavailable,  // Never sent: not connected, or the broker has blocked publishers.
  kUnknown,      // Sent, and the connection or channel was lost before it was settled.
};

struct Message {
  std::string routing_key;  // Up to 255 bytes.
  std::string body;
  // Up to 16 text headers; names up to 127 bytes, values are cut at 4 KiB.
  std::vector<std::pair<std::string, std::string>> headers;
};

// Publishes persistent, mandatory messages to topology::kExchange with publisher confirms.
// Thread-safe; no call blocks on the broker.
class Publisher {
 public:
  // Called once for each message, on the publisher's thread (or the caller's, for kUnavailable):
  // must not block.
  using Settled = std::function<void(PublishOutcome)>;
  using AvailabilityChanged = std::function<void(bool available)>;

  virtual ~Publisher() = default;

  // Settles with kUnavailable at once when not available(). Throws std::invalid_argument when
  // `message` breaks the limits above.
  virtual void publish(Message message, Settled settled) = 0;
  // Connected, topology declared, not blocked.
  virtual bool available() const = 0;
  // Called on the publisher's thread after every change. Set before it is started.
  virtual void on_availability(AvailabilityChanged changed) = 0;
};

// Publisher confirms (RabbitMQ extension: https://www.rabbitmq.com/confirms.html) on one
// connection, owned by one thread that reconnects by itself with backoff and jitter over a list of
// URLs and declares the topology on every connect and after every return.
class AmqpPublisher final : public Publisher {
 public:
  struct Options {
    std::vector<AmqpUrl> urls;
    std::string name;      // For logs and connection_name.
    size_t window = 1000;  // Most messages sent and unsettled; more wait in memory.
    // Most bytes that wait to be sent; beyond it publish() settles with kUnavailable.
    size_t max_waiting_bytes = 64 << 20;
    std::string hint = {};  // See ConnectionKeeper.
  };

  // `metrics` outlives this.
  AmqpPublisher(Options options, Metrics& metrics);
  ~AmqpPublisher() override;

  void start();
  // Waits until `deadline` for what was sent to be settled, then closes; the rest is settled as
  // kUnknown or kUnavailable. Returns after the thread joined and every Settled ran. Idempotent.
  void stop(SteadyClock::time_point deadline);

  void publish(Message message, Settled settled) override;
  bool available() const override;
  void on_availability(AvailabilityChanged changed) override;
  // One line for /readyz and the log: "RabbitMQ 3.10.8 at 127.0.0.1:5672/", or why not.
  std::string status() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace postoffice
