#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "broker/queue_monitor.h"
#include "store/store.h"

namespace postoffice {

// The receive time before which the process of `report` holds no unprocessed callback: of the
// oldest that it named, or, for one that held nothing, shortly before the report.
UnixTime held_since(const WatermarkReport& report);

// Works out the watermark: a time before which every callback received has been processed, as far
// as can be known from what processes report and how long the queue is. Objects expire against it
// instead of against the clock, so that nothing is deleted that a waiting callback still names. Not
// thread-safe; no clock, no database, no thread: the caller passes in what it saw.
//
// Who holds unprocessed callbacks?
// - Processes. A report says `oldest`, the receive time of the oldest callback that its process
//   holds; one that held nothing speaks for the time up to the report, since what came to it
//   afterwards is newer. The least over all reports counts.
// - The queue. It is first in, first out: what workers hold is older than what waits. So while a
//   live worker holds something, the reports say it all. When none does, the queue must be known to
//   be empty ("drained"), or the watermark stays where it was.
//
// Drained: the queue was read empty twice, and between the two readings every live worker reported
// (at least one). RabbitMQ can falsely answer 0 messages and 0 consumers, so a reading without
// consumers proves nothing while workers live. It stays drained until it is read non-empty twice in
// a row: what one reading finds has arrived since the one before, and is about to be delivered.
//
// A worker that vanished counts until the queue was drained since, because what it held goes back
// to the queue; RabbitMQ may notice only after 30 s that it is gone, unless it stopped in order. A
// server that vanished counts while it has an outbox, which only its next start forwards. Neither
// counts for longer than 10 minutes.
class Watermark {
 public:
  struct Observation {
    UnixTime now;  // By the database's clock, which also dates the reports.
    SteadyClock::time_point steady_now;
    std::string own_process;
    std::optional<UnixTime> own_oldest;  // Newer than the own report.
    std::vector<WatermarkReport> reports;
    std::optional<QueueReading> queue;  // Nothing: unknown.
  };

  struct Decision {
    std::optional<UnixTime> watermark;  // Nothing: not known since the start; nothing may expire.
    std::vector<std::string> forget;    // Processes whose reports are of no more use.
    std::vector<std::string> warnings;
    // The queue has been drained once more since it last said so, or was read empty once more while
    // nobody works.
    bool drained_again = false;
  };

  Decision observe(const Observation& seen);

 private:
  // The reports of one observation, sorted by what they say.
  struct Census;

  Census count(const Observation& seen, Decision& decision) const;
  bool read_queue(const Observation& seen, const Census& census);
  bool finish_round(const Observation& seen);
  std::optional<UnixTime> candidate(const Observation& seen, const Census& census) const;
  UnixTime asked_at(const Observation& seen) const;

  std::optional<UnixTime> watermark_;

  uint64_t last_reading_ = 0;
  bool last_empty_ = false;
  int empty_in_a_row_ = 0;  // Whoever consumes.
  int not_empty_in_a_row_ = 0;
  bool drained_ = false;
  std::optional<UnixTime> drained_since_;  // The first reading of the newest round that ended.

  // The round under way: the first empty reading, and when every live worker had reported since.
  std::optional<UnixTime> round_start_;
  std::optional<SteadyClock::time_point> all_reported_at_;
};

}  // namespace postoffice
