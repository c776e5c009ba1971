#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/http_probes.h"
#include "base/http_server.h"
#include "base/metrics.h"
#include "base/time.h"
#include "broker/intake.h"
#include "broker/outbox.h"
#include "broker/queue_monitor.h"
#include "server/callback_handler.h"
#include "server/expiry.h"
#include "server/objects_handler.h"
#include "store/store.h"

namespace postoffice {

// What `serve` does besides publishing: HTTP and expiry. Thread-safe.
class Server {
 public:
  struct Options {
    HttpServer::Options http;
    CallbackHandler::Options callbacks;
    ObjectsHandler::Options objects;
    Expiry::Options expiry;
  };
  struct BrokerStatus {
    std::function<bool()> available;
    std::function<std::string()> text;  // One line.
  };

  // Everything passed in outlives this. The intake is stopped before HTTP goes: its answers go
  // there.
  Server(const Options& options, Intake& intake, const Outbox& outbox, const QueueMonitor& queue,
         BrokerStatus broker, const StoreFactory& stores, Metrics& metrics);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Throws BadConfig when the port cannot be had.
  void start();
  // Stops accepting and answers what is in flight until `deadline`. Expiry goes on until
  // stop_expiry().
  void stop_http(SteadyClock::time_point deadline);
  void stop_expiry();

  // The bound port, after start().
  uint16_t port() const { return http_.port(); }

 private:
  std::vector<Readiness> readiness() const;

  Intake& intake_;
  const Outbox& outbox_;
  const BrokerStatus broker_;
  Expiry expiry_;
  CallbackHandler callbacks_;
  ObjectsHandler objects_;
  HttpServer http_;
};

}  // namespace postoffice
