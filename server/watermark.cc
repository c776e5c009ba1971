#include "server/watermark.h"

#include <algorithm>

namespace postoffice {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Millis kLive = seconds(5);  // A report is due every second.
constexpr Millis kBrokerNotices = seconds(30);
constexpr Millis kOrderlyReturn = seconds(2);  // From the last report to the closed connection.
constexpr Millis kForgotten = minutes(10);
// From a callback's receipt until it is in the queue and delivered, or in the outbox.
constexpr Millis kUnderWay{100};

using Role = WatermarkReport::Role;

}  // namespace

UnixTime held_since(const WatermarkReport& report) {
  return report.oldest.value_or(report.reported_at - kUnderWay);
}

struct Watermark::Census {
  std::optional<UnixTime> oldest;  // The least that any report allows.
  size_t live_workers = 0;
  bool live_worker_holds = false;               // At least one holds a callback.
  bool vanished_workers = false;                // That still count.
  std::optional<UnixTime> workers_reported_at;  // The report of a live worker that is oldest.

  void allow(UnixTime time) { oldest = earlier(oldest, time); }
};

Watermark::Decision Watermark::observe(const Observation& seen) {
  Decision decision;
  const bool new_reading = seen.queue && seen.queue->number != last_reading_;
  Census census = count(seen, decision);
  decision.drained_again = read_queue(seen, census);
  if (decision.drained_again) {
    // Some who vanished may be forgotten now.
    decision.forget.clear();
    decision.warnings.clear();
    census = count(seen, decision);
  }
  if (const auto next = candidate(seen, census)) {
    watermark_ = std::min(*next, seen.now);
    // Nobody works, and this reading, too, shows an empty queue.
    if (census.live_workers == 0 && new_reading) decision.drained_again = true;
  }
  decision.watermark = watermark_;
  return decision;
}

Watermark::Census Watermark::count(const Observation& seen, Decision& decision) const {
  Census census;
  census.allow(seen.own_oldest.value_or(seen.now - kUnderWay));
  for (const auto& report : seen.reports) {
    if (report.process == seen.own_process) continue;
    const bool worker = report.role == Role::kWorker;
    const Millis age = seen.now - report.reported_at;
    if (!report.stopped && age <= kLive) {
      census.allow(held_since(report));
      if (!worker) continue;
      ++census.live_workers;
      census.live_worker_holds |= report.oldest.has_value();
      census.workers_reported_at = earlier(census.workers_reported_at, report.reported_at);
      continue;
    }

    const Millis unnoticed = report.stopped ? kOrderlyReturn : kBrokerNotices;
    const bool held_nothing = !report.oldest && (report.stopped || !worker);
    const bool returned =
        worker && drained_since_ && *drained_since_ >= report.reported_at + unnoticed;
    if (held_nothing || returned) {
      decision.forget.push_back(report.process);
    } else if (age > kForgotten) {
      decision.forget.push_back(report.process);
      decision.warnings.push_back(std::string(worker ? "worker " : "server ") + report.process +
                                  " vanished 10 minutes ago; what it may have held unprocessed no "
                                  "longer keeps objects from expiring");
    } else {
      census.allow(held_since(report));
      census.vanished_workers |= worker;
    }
  }
  return census;
}

// When the queue was last asked, by the database's clock.
UnixTime Watermark::asked_at(const Observation& seen) const {
  return seen.now - std::chrono::ceil<Millis>(seen.steady_now - seen.queue->asked_at);
}

// True when a round ended.
bool Watermark::read_queue(const Observation& seen, const Census& census) {
  bool ended = false;
  if (!seen.queue) {
    last_empty_ = drained_ = false;
    empty_in_a_row_ = 0;
    round_start_.reset();
  } else if (seen.queue->number != last_reading_) {
    last_reading_ = seen.queue->number;
    empty_in_a_row_ = seen.queue->messages == 0 ? empty_in_a_row_ + 1 : 0;
    last_empty_ =
        seen.queue->messages == 0 && (census.live_workers == 0 || seen.queue->consumers > 0);
    if (last_empty_) {
      not_empty_in_a_row_ = 0;
      ended = finish_round(seen);
    } else {
      round_start_.reset();
      if (++not_empty_in_a_row_ >= 2) drained_ = false;
    }
  }
  if (round_start_ && !all_reported_at_ && census.live_workers > 0 &&
      *census.workers_reported_at > *round_start_) {
    all_reported_at_ = seen.steady_now;
  }
  return ended;
}

// An empty reading ends the round under way, if there was one, or begins one.
bool Watermark::finish_round(const Observation& seen) {
  if (!round_start_) {
    round_start_ = asked_at(seen);
    all_reported_at_.reset();
    return false;
  }
  if (!all_reported_at_ || seen.queue->asked_at < *all_reported_at_) return false;
  drained_ = true;
  drained_since_ = round_start_;
  round_start_.reset();
  return true;
}

// Nothing: the watermark stays where it is.
std::optional<UnixTime> Watermark::candidate(const Observation& seen, const Census& census) const {
  if (!seen.queue) return std::nullopt;
  if (census.live_workers > 0) {
    const bool known = census.live_worker_holds || (drained_ && last_empty_);
    return known ? census.oldest : std::nullopt;
  }
  // Nobody works. An empty queue that nobody could have taken anything from is enough then: this is
  // how a table expires after the last worker stopped in order, and a new system starts.
  if (census.vanished_workers || empty_in_a_row_ < 2 || seen.queue->consumers > 0) {
    return std::nullopt;
  }
  return earlier(census.oldest, asked_at(seen) - kUnderWay);
}

}  // namespace postoffice
