#include "server/server.h"

#include <utility>

#include "base/http_probes.h"

namespace postoffice {
namespace {

std::string describe(const OutboxDepth& depth, std::optional<OutboxRefusal> refusal) {
  std::string text = std::to_string(depth.callbacks) + " callbacks wait";
  if (depth.oldest_received_at) {
    text += ", the oldest since " + format_rfc3339(*depth.oldest_received_at);
  }
  if (refusal == OutboxRefusal::kFull) text += "; full: nothing is taken until there is room";
  if (refusal == OutboxRefusal::kFailed) text += "; the disk failed: replace it and restart";
  return text;
}

}  // namespace

Server::Server(const Options& options, Intake& intake, const Outbox& outbox,
               const QueueMonitor& queue, BrokerStatus broker, const StoreFactory& stores,
               Metrics& metrics)
    : intake_(intake),
      outbox_(outbox),
      broker_(std::move(broker)),
      expiry_(
          options.expiry, stores, intake, outbox, [&queue] { return queue.callbacks(); }, metrics),
      callbacks_(options.callbacks, intake, metrics),
      objects_(options.objects, stores),
      http_(options.http) {
  callbacks_.add_routes(http_);
  objects_.add_routes(http_);
  add_probe_routes(http_, metrics, [this] { return readiness(); });
}

Server::~Server() { intake_.stop(); }

void Server::start() {
  http_.start();
  expiry_.start();
}

void Server::stop_http(SteadyClock::time_point deadline) { http_.stop(deadline); }

void Server::stop_expiry() { expiry_.stop(); }

// Callbacks can be taken by either of broker and outbox, so neither is required while the other is
// there.
std::vector<Readiness> Server::readiness() const {
  const bool broker_ok = broker_.available();
  const auto refusal = outbox_.refusal();
  return {{"broker", broker_ok, refusal.has_value(), broker_.text()},
          {"outbox", !refusal, !broker_ok, describe(outbox_.depth(), refusal)},
          {"database", expiry_.database_ok(), false, expiry_.database_status()}};
}

}  // namespace postoffice
