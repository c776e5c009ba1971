#include "server/callback_metrics.h"

namespace postoffice {
namespace {

prometheus::Counter& accepted(Metrics& metrics, const char* via) {
  return metrics.counter("postoffice_callbacks_accepted_total",
                         "Callbacks answered with 202, by who keeps them.", {{"via", via}});
}

prometheus::Counter& refused(Metrics& metrics, const char* reason) {
  return metrics.counter("postoffice_callbacks_refused_total", "Callbacks not accepted.",
                         {{"reason", reason}});
}

}  // namespace

CallbackMetrics::CallbackMetrics(Metrics& metrics)
    : by_broker(accepted(metrics, "broker")),
      by_outbox(accepted(metrics, "outbox")),
      malformed(refused(metrics, "malformed")),
      too_large(refused(metrics, "too_large")),
      unavailable(refused(metrics, "unavailable")),
      object_ids(metrics.counter("postoffice_object_ids_accepted_total",
                                 "Ids in accepted callbacks, duplicates included.")),
      seconds(metrics.histogram(
          "postoffice_callback_seconds", "From a whole request to its answer.",
          {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10})) {}

void CallbackMetrics::answered(Accepted accepted, size_t callbacks, size_t ids) {
  const auto count = static_cast<double>(callbacks);
  if (accepted == Accepted::kRefused) return unavailable.Increment(count);
  (accepted == Accepted::kByBroker ? by_broker : by_outbox).Increment(count);
  object_ids.Increment(static_cast<double>(ids));
}

}  // namespace postoffice
