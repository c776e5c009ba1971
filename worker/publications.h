#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/publisher.h"
#include "worker/deliveries.h"

namespace postoffice {

// What the worker publishes: retries, dead letters, single lines of a message. Each stands for
// parts of deliveries, which are done only when the broker has confirmed it. Whatever is not
// confirmed is published again, with backoff, until it is or until none of its deliveries is held
// any more: a message may thus get out twice, but never not at all.
//
// Bounded by the parts of deliveries held. Thread-safe; nothing but stop() blocks.
class Publications {
 public:
  struct Options {
    size_t window = 1000;  // Most messages at the publisher at once.
    Millis backoff_least{100};
    Millis backoff_most{5000};
  };
  struct Retry {
    int64_t id = 0;
    UnixTime received_at;
    int attempt = 1;  // Attempts made so far.
    UnixTime not_before;
  };

  // All outlive this.
  Publications(const Options& options, Publisher& publisher, Deliveries& deliveries,
               Metrics& metrics);
  ~Publications();

  void start();
  // Publishes nothing any more; confirms that come later have no effect. Idempotent.
  void stop();

  // Goes to the retry queue whose delay fits best when it is sent.
  void retry(const Retry& retry, std::vector<DeliveryHandle> deliveries);
  // `line` is kept as it is; `reason` becomes a header.
  void dead_letter(std::string line, std::string reason, std::vector<DeliveryHandle> deliveries);
  // A line of a delivery, to be delivered again as a message of its own.
  void callback(std::string line, DeliveryHandle delivery);

 private:
  class Core;
  // Shared with the callbacks that the publisher holds.
  std::shared_ptr<Core> core_;
};

}  // namespace postoffice
