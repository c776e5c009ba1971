#pragma once

#include <optional>
#include <vector>

#include "base/time.h"
#include "broker/callback_message.h"
#include "worker/backlog.h"
#include "worker/deliveries.h"
#include "worker/fetch_queue.h"
#include "worker/publications.h"

namespace postoffice {

// Decodes parked deliveries while there is room and sends their parts on: ids to the fetch queue,
// lines that are no callbacks to the dead letters, retries whose time has not come to wait here,
// or, when that is far or many wait already, back to a retry queue. A delivery that failed often
// before is published again line by line instead, so that one bad line cannot keep the others. Not
// thread-safe.
class Admission {
 public:
  struct Options {
    size_t most_parts = 200'000;        // Held parts of deliveries above which nothing is admitted.
    uint64_t split_after_failures = 4;  // Failed deliveries before this one.
    Millis longest_wait{8000};          // Of a retry in this worker.
    // Retries that wait here. Each is a message that takes one of the broker's prefetch slots from
    // fresh callbacks.
    size_t most_waiting = 250;
  };

  // All outlive this.
  Admission(const Options& options, Backlog& backlog, Deliveries& deliveries, FetchQueue& queue,
            Publications& publications);

  // Admits what there is room for, up to a thousand deliveries, and retries whose time has come.
  void admit(UnixTime now);

  // Deliveries of which a retry waits here.
  std::vector<DeliveryHandle> waiting() const;

 private:
  struct Later {
    UnixTime not_before;
    Naming naming;
  };
  // An id that one delivery names, whatever the number of its lines that do.
  struct Named {
    int64_t id = 0;
    UnixTime received_at;
    int attempt = 0;
    std::optional<UnixTime> not_before;
  };

  void admit_one(const Backlog::Parked& parked, UnixTime now);
  void split(const Backlog::Parked& parked);
  void send_on(const std::vector<Named>& named, DeliveryHandle delivery, UnixTime now);
  static std::vector<Named> each_id_once(const std::vector<CallbackLine>& lines);
  void release_due(UnixTime now);

  const Options options_;
  Backlog& backlog_;
  Deliveries& deliveries_;
  FetchQueue& queue_;
  Publications& publications_;
  CallbackDecoder decoder_;
  std::vector<Later> later_;  // A heap, the earliest first.
  std::vector<Naming> namings_;
};

}  // namespace postoffice
