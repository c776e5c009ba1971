#include "bench/processes/deployment.h"

#include <filesystem>

#include "bench/processes/engine.h"

namespace postoffice::bench {

Deployment::Deployment(const Bench& bench, const std::string& name)
    : program_(bench.program("postoffice")),
      folder_(bench.folder + "/" + name),
      server_port_(free_port()),
      broker_port_(free_port()) {
  std::filesystem::create_directories(folder_);
}

Deployment::~Deployment() {
  worker_.reset();
  serve_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Service::Settings Deployment::environment(const Service::Settings& ports) const {
  Service::Settings all = ports;
  all.insert(settings.begin(), settings.end());
  all.insert({"DATA_DIR", folder_ + "/data"});
  all.insert({"BROKER_PORT", std::to_string(broker_port_)});
  return all;
}

Service& Deployment::launch_serve() {
  serve_.reset();
  serve_ = std::make_unique<Service>(std::vector<std::string>{program_, "serve"},
                                     environment({{"SERVER_PORT", std::to_string(server_port_)}}),
                                     folder_, folder_ + "/serve.log", server_port_);
  return *serve_;
}

Service& Deployment::start_serve() {
  launch_serve().wait_for("/readyz");
  return *serve_;
}

Service& Deployment::start_worker(size_t threads) {
  worker_.reset();
  const uint16_t port = free_port();
  worker_ = std::make_unique<Service>(
      std::vector<std::string>{program_, "worker", std::to_string(threads)},
      environment({{"WORKER_PORT", std::to_string(port)}}), folder_, folder_ + "/worker.log", port);
  worker_->wait_for("/healthz");
  return *worker_;
}

std::string Deployment::amqp_url() const {
  const auto set = settings.find("AMQP_URL");
  if (set != settings.end()) return set->second;
  return "amqp://127.0.0.1:" + std::to_string(broker_port_);
}

namespace {

Service start_objects(const Bench& bench, std::chrono::milliseconds least,
                      std::chrono::milliseconds most) {
  const uint16_t port = free_port();
  return {{bench.program("tester_server"), "--count=0", "--objects-port=" + std::to_string(port),
           "--latency-min=" + std::to_string(least.count()) + "ms",
           "--latency-max=" + std::to_string(most.count()) + "ms"},
          {},
          bench.folder,
          bench.folder + "/tester_server.log",
          port};
}

}  // namespace

ObjectService::ObjectService(const Bench& bench, std::chrono::milliseconds least,
                             std::chrono::milliseconds most)
    : service_(start_objects(bench, least, most)) {
  service_.wait_for("/stats");
}

std::string ObjectService::url() const {
  return "http://127.0.0.1:" + std::to_string(port()) + "/objects";
}

}  // namespace postoffice::bench
