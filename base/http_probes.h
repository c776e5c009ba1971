#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/http_server.h"
#include "base/metrics.h"

namespace postoffice {

// What /readyz says of one thing the process depends on.
struct Readiness {
  std::string name;  // "broker", "database", "outbox"
  bool ok = true;
  bool required = true;  // Not ok and required: /readyz answers 503.
  std::string detail;    // One line for a person; no passwords.
};

// GET /healthz: 200 while the process lives; looks at no dependency.
// GET /readyz: 200 or 503 with {"ready":bool,"checks":[{"name":..,"ok":..,"detail":..}]}.
// GET /metrics: Prometheus text.
// `readiness` is called on HTTP threads and must not block. `metrics` outlives the server.
void add_probe_routes(HttpServer& server, const Metrics& metrics,
                      std::function<std::vector<Readiness>()> readiness);

}  // namespace postoffice
