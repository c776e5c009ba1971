#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/http_probes.h"
#include "base/metrics.h"
#include "base/time.h"
#include "broker/consumer.h"
#include "broker/publisher.h"
#include "store/store.h"
#include "worker/admission.h"
#include "worker/object_client.h"
#include "worker/outage.h"
#include "worker/publications.h"
#include "worker/retry_policy.h"
#include "worker/returned_times.h"
#include "worker/store_writer.h"

namespace postoffice {

// Takes messages of callbacks, fetches every object that they name and stores what it learns.
//
// A message is acknowledged when each object in it is stored, waits in a retry queue or is a dead
// letter; whatever ends before that leaves it to the broker, which delivers it again. Nothing waits
// for a single object: one that fails costs its fetch thread the time of the attempt, no more.
//
// The consumer takes its handler when it is made, and the worker settles through the consumer, so
// the two are put together like this:
//
//   Worker worker(options, publisher, store_factory, metrics);
//   Consumer consumer({.prefetch = worker.prefetch(), ...}, worker.handler(), metrics);
//   publisher.start();
//   worker.start(consumer, [&] { return consumer.connected(); });
//   consumer.start();
//   ...
//   consumer.cancel();                     // No further messages.
//   const bool ended = worker.stop(soon);  // Ends what was begun, gives back the rest.
//   consumer.stop(deadline);               // Sends the last acknowledgements.
//   publisher.stop(deadline);
//   if (!ended) std::_Exit(0);             // Something hangs; nothing is lost by leaving it.
//
// Thread-safe.
class Worker {
 public:
  struct Options {
    size_t fetch_threads = 1;
    std::string objects_url;  // http://host[:port][/path]; /<id> is added.
    std::string process_id;   // Unique to this run, for the watermark.

    ObjectClient::Options fetch;
    RetryPolicy::Options retry;
    Outage::Options outage;
    StoreWriter::Options store;
    Publications::Options publish;
    ReturnedTimes::Options returned;
    Millis report_interval{1000};

    // Most messages held, parked and worked on. 0: twice the fetch threads, at least 1,000.
    uint16_t prefetch = 0;
    // Most parts of messages (ids and bad lines) worked on. 0: 20 for each fetch thread, at least
    // 200,000.
    size_t most_parts = 0;
    // Messages beyond that wait as they came, up to so many bytes; then reading stops.
    size_t most_parked_bytes = size_t{64} << 20;
    // A message not done by then goes back to the queue. RabbitMQ closes channels after 30 minutes.
    Millis longest_hold = std::chrono::minutes(10);
    // A message that failed so often and has several lines is published again line by line.
    uint64_t split_after_failures = 4;
    // How often what has become due is looked for.
    Millis tick{50};
  };

  // `publisher` and `metrics` outlive this. Throws BadConfig when `objects_url` is none.
  Worker(const Options& options, Publisher& publisher, const StoreFactory& factory,
         Metrics& metrics);
  // stop() was called before, or waits here without a deadline. The consumer is gone or has
  // stopped.
  ~Worker();

  // To be given to the consumer.
  Consumer::Handler handler();
  uint16_t prefetch() const;

  // Before the consumer starts. `connected` says whether the broker delivers, as
  // Consumer::connected(); it must not block. Both outlive stop(). Throws BadConfig when the
  // machine cannot run so many threads.
  void start(Settler& settler, std::function<bool()> connected);

  // Gives back what was not begun, lets the fetches under way end and be stored and acknowledged
  // until shortly before `deadline`, then ends the rest. False when something, such as a hanging
  // database, has not ended by `deadline`: the destructor would wait for it. Idempotent.
  bool stop(SteadyClock::time_point deadline);

  // For /readyz: broker, database, object service. Never blocks.
  std::vector<Readiness> readiness(const std::string& broker_status) const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace postoffice
