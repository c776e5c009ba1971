#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "bench/pipeline.h"
#include "bench/processes/service.h"

namespace postoffice::bench {

// The product as its users run it, on ports of its own: by default with the embedded broker and
// SQLite. What runs is killed, and its folder removed, when the object goes. Everything throws
// std::runtime_error.
class Deployment {
 public:
  // In <bench.folder>/<name>, which must not exist.
  Deployment(const Bench& bench, const std::string& name);
  ~Deployment();
  Deployment(const Deployment&) = delete;
  Deployment& operator=(const Deployment&) = delete;

  // Of what is started from now on: AMQP_URL, DATABASE_URL, OBJECT_TTL...
  Service::Settings settings;

  // Starts `serve`, also again with the same data; returns at once.
  Service& launch_serve();
  // ... and when it accepts callbacks.
  Service& start_serve();
  // Starts `worker threads`; returns when it answers.
  Service& start_worker(size_t threads);
  // SIGKILL.
  void kill_serve() { serve_.reset(); }
  void kill_worker() { worker_.reset(); }

  Service& serve() const { return *serve_; }
  Service& worker() const { return *worker_; }
  std::string amqp_url() const;

 private:
  Service::Settings environment(const Service::Settings& ports) const;

  const std::string program_;
  const std::string folder_;
  const uint16_t server_port_;
  const uint16_t broker_port_;
  std::unique_ptr<Service> serve_;
  std::unique_ptr<Service> worker_;
};

// tester_server as object service only, whose answers take so long, all times equally likely.
class ObjectService {
 public:
  ObjectService(const Bench& bench, std::chrono::milliseconds least,
                std::chrono::milliseconds most);

  uint16_t port() const { return service_.port(); }
  pid_t pid() const { return service_.pid(); }
  std::string url() const;

 private:
  Service service_;
};

}  // namespace postoffice::bench
