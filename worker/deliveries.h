#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/consumer.h"
#include "worker/returned_times.h"

namespace postoffice {

// Names a held delivery. One that was settled or forgotten meanwhile is recognised as such: what is
// done with its handle then has no effect.
struct DeliveryHandle {
  uint32_t slot = 0;
  uint32_t generation = 0;
  bool operator==(const DeliveryHandle&) const = default;
};

// The deliveries that are being worked on, each with the number of parts (object ids, bad lines)
// that it still waits for. Acknowledges a delivery when its last part is done. Thread-safe; calls
// the settler under its lock, so that after forget_connections() nothing is settled any more, and
// so that what goes back to the queue is among the returned ones before it is missing here.
class Deliveries {
 public:
  // Both outlive this.
  Deliveries(ReturnedTimes& returned, Metrics& metrics);

  // Before anything else. `settler` lives until all connections were forgotten.
  void settle_with(Settler& settler) { settler_ = &settler; }

  // Holds a delivery of `parts` parts; one without parts is acknowledged at once. `oldest`: the
  // receive time of its oldest callback, if it has one. Nothing when its connection was forgotten.
  std::optional<DeliveryHandle> hold(DeliveryTag tag, SteadyClock::time_point arrived,
                                     std::optional<UnixTime> oldest, size_t parts);

  // One part of each is done. A delivery may be named more than once.
  void done(std::span<const DeliveryHandle> handles);

  // Each goes back to the queue, and the rest of its parts is forgotten.
  void requeue(std::span<const DeliveryHandle> handles);
  // The same for all that arrived before `arrived`; false when there was none.
  bool requeue_older_than(SteadyClock::time_point arrived);
  // The broker has requeued what came over connections up to and with this one.
  void forget_connections(uint64_t connection);

  bool holds(DeliveryHandle handle) const;
  bool holds_any(std::span<const DeliveryHandle> handles) const;
  // The receive time of the oldest callback held.
  std::optional<UnixTime> oldest() const;
  size_t count() const;
  // Parts not done, of all deliveries.
  size_t parts() const;
  // False when some are still held at `deadline`.
  bool wait_until_none(SteadyClock::time_point deadline) const;

 private:
  struct Held {
    DeliveryTag tag;
    SteadyClock::time_point arrived;
    std::optional<UnixTime> oldest;
    size_t parts = 0;  // 0: the slot is free.
    uint32_t generation = 0;
  };

  Held* find(DeliveryHandle handle);
  const Held* find(DeliveryHandle handle) const;
  void give_back(Held& held);
  void release(Held& held);

  ReturnedTimes& returned_;
  Settler* settler_ = nullptr;
  prometheus::Gauge& held_gauge_;

  mutable std::mutex mutex_;  // Guards what follows.
  mutable std::condition_variable none_left_;
  std::vector<Held> slots_;
  std::vector<uint32_t> free_;
  size_t count_ = 0;
  size_t parts_ = 0;
  uint64_t lost_connection_ = 0;
};

}  // namespace postoffice
