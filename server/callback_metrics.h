#pragma once

#include <cstddef>

#include "base/metrics.h"
#include "broker/intake.h"

namespace postoffice {

// What POST /callback counts, whichever way a request takes. Thread-safe; `metrics` outlives it.
struct CallbackMetrics {
  explicit CallbackMetrics(Metrics& metrics);

  // So many callbacks with so many ids in all share that answer.
  void answered(Accepted accepted, size_t callbacks, size_t ids);

  prometheus::Counter& by_broker;
  prometheus::Counter& by_outbox;
  prometheus::Counter& malformed;
  prometheus::Counter& too_large;
  prometheus::Counter& unavailable;
  prometheus::Counter& object_ids;
  prometheus::Histogram& seconds;
};

}  // namespace postoffice
