#pragma once

#include <deque>
#include <mutex>
#include <optional>

#include "base/time.h"
#include "broker/consumer.h"
#include "worker/returned_times.h"

namespace postoffice {

// Deliveries that have arrived and wait, undecoded, until there is room for their ids. The broker
// bounds their number (prefetch); their size is bounded here: above `most_bytes` the consumer stops
// reading until half of that is left. What goes back to the queue is among the returned ones before
// it is missing here. Thread-safe.
class Backlog {
 public:
  struct Parked {
    Delivery delivery;
    SteadyClock::time_point arrived;
    std::optional<UnixTime> oldest;  // Receive time of its oldest callback.
  };

  // `returned` outlives this.
  Backlog(size_t most_bytes, ReturnedTimes& returned)
      : most_bytes_(most_bytes), returned_(returned) {}

  // Before anything else. `settler` outlives the use of this.
  void settle_with(Settler& settler) { settler_ = &settler; }

  // False when closed: it goes back to the queue.
  bool park(Delivery delivery, SteadyClock::time_point now = SteadyClock::now());

  // The one that came first. It counts for oldest() until taken_over().
  std::optional<Parked> take();
  void taken_over();

  // Deliveries that arrived before `arrived` go back to the queue.
  void requeue_older_than(SteadyClock::time_point arrived);
  // The broker has requeued what came over connections up to and with this one.
  void forget_connections(uint64_t connection);
  // All go back to the queue, also those that arrive from now on.
  void close();

  // The receive time of the oldest callback.
  std::optional<UnixTime> oldest() const;

 private:
  static size_t cost_of(const Parked& parked);
  void forget_bytes(size_t bytes);

  const size_t most_bytes_;
  ReturnedTimes& returned_;
  Settler* settler_ = nullptr;

  mutable std::mutex mutex_;  // Guards what follows.
  std::deque<Parked> parked_;
  std::optional<UnixTime> being_taken_over_;
  size_t bytes_ = 0;
  bool is_reading_ = true;
  bool is_closed_ = false;
};

}  // namespace postoffice
