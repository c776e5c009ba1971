#pragma once

#include "base/metrics.h"

namespace postoffice {

// What POST /callback counts, whichever way a request takes. Thread-safe; `metrics` outlives it.
struct CallbackMetrics {
  explicit CallbackMetrics(Metrics& metrics);

  prometheus::Counter& by_broker;
  prometheus::Counter& by_outbox;
  prometheus::Counter& malformed;
  prometheus::Counter& too_large;
  prometheus::Counter& unavailable;
  prometheus::Counter& object_ids;
  prometheus::Histogram& seconds;
};

}  // namespace postoffice
