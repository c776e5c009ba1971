#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_set>

#include "base/metrics.h"
#include "base/time.h"
#include "worker/fetch_result.h"

namespace postoffice {

// Whether the object service as a whole is down, from the results of all fetches.
//
// It is down when objects have failed for `window` without a good answer in between, and at least
// `ids` different ones got no connection, no answer in time or a 5xx; when so many got a 401 or
// 403, a tenth of the window is enough. A good answer is one that shows the service at work: the
// object itself, 404, 410, any other refusal of the one object. Time without any question says
// nothing, so that the window begins with a failure.
//
// While it is down fetching pauses and probes find out when it is back. Already when that is
// suspected (so many different objects, failing for a tenth of the window) attempts do not count:
// otherwise objects that fail fast could use up theirs before the window is over.
//
// A service that is down cannot be told from `ids` or more objects that it fails for good while
// nothing else is asked: those are probed until any other object gets a good answer. To count the
// attempts of probes instead would give objects up in every outage that lasts.
//
// Thread-safe. Logs the start and the end of an outage, one line each.
class Outage {
 public:
  struct Options {
    Millis window{10'000};
    size_t ids = 5;
    Millis probe_least{500};  // Between probes; doubled after each.
    Millis probe_most{5000};
  };
  // What a failed attempt means for its object.
  enum class Verdict {
    kCounts,
    kUncounted,  // To be retried, but as if it had not been tried.
    kPaused,     // The service is down: the object waits until it is back.
  };
  // Called under a lock at every start (true) and end (false) of an outage: must not call back.
  using Changed = std::function<void(bool down)>;

  // `service` names it in logs.
  Outage(const Options& options, std::string service, Changed changed, Metrics& metrics);

  // Any result but kAbandoned, which says nothing. `is_probe`: of the fetch for which probe_due()
  // said yes. The verdict is of interest for failures only.
  Verdict note(const FetchResult& result, int64_t id, bool is_probe,
               SteadyClock::time_point now = SteadyClock::now());

  // True when the service is down and it is time for a probe; the next one is due some time after
  // the result of this one was noted.
  bool probe_due(SteadyClock::time_point now = SteadyClock::now());

  bool down() const;
  // One line for /readyz.
  std::string status() const;

 private:
  Millis suspicion_after() const { return options_.window / 10; }
  void note_good(SteadyClock::time_point now);
  void note_bad(const FetchResult& result, int64_t id, SteadyClock::time_point now);
  void go_down(const std::string& why, SteadyClock::time_point now);

  const Options options_;
  const std::string service_;
  const Changed changed_;
  prometheus::Gauge& up_gauge_;

  mutable std::mutex mutex_;               // Guards what follows.
  SteadyClock::time_point failing_since_;  // The first failure since the last good answer.
  // Different objects that failed since the last good answer; no more than `ids` are kept.
  std::unordered_set<int64_t> unreachable_;
  std::unordered_set<int64_t> unauthorised_;
  bool down_ = false;
  std::string why_;
  SteadyClock::time_point down_since_;
  SteadyClock::time_point next_probe_;
  Millis probe_pause_{};
  bool is_probing_ = false;
};

}  // namespace postoffice
