#include "base/http_probes.h"

#include <algorithm>
#include <utility>

#include "base/json_text.h"

namespace postoffice {
namespace {

std::string to_json(const std::vector<Readiness>& checks, bool ready) {
  std::string json = std::string("{\"ready\":") + (ready ? "true" : "false") + ",\"checks\":[";
  for (const auto& check : checks) {
    if (&check != &checks.front()) json += ",";
    json += "{\"name\":" + json_quote(check.name) + ",\"ok\":" + (check.ok ? "true" : "false") +
            ",\"detail\":" + json_quote(check.detail) + "}";
  }
  return json + "]}";
}

}  // namespace

void add_probe_routes(HttpServer& server, const Metrics& metrics,
                      std::function<std::vector<Readiness>()> readiness) {
  server.routes().Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("{\"alive\":true}", "application/json");
  });
  server.routes().Get("/readyz", [readiness = std::move(readiness)](const httplib::Request&,
                                                                    httplib::Response& response) {
    const auto checks = readiness();
    const bool ready = std::ranges::all_of(
        checks, [](const Readiness& check) { return check.ok || !check.required; });
    response.status = ready ? 200 : 503;
    response.set_content(to_json(checks, ready), "application/json");
  });
  server.routes().Get("/metrics", [&metrics](const httplib::Request&, httplib::Response& response) {
    response.set_content(metrics.text(), "text/plain; version=0.0.4; charset=utf-8");
  });
}

}  // namespace postoffice
