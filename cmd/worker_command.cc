#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "base/http_probes.h"
#include "base/http_server.h"
#include "base/process_id.h"
#include "base/url.h"
#include "broker/consumer.h"
#include "broker/data_dir_lock.h"
#include "broker/publisher.h"
#include "broker/topology.h"
#include "cmd/announce.h"
#include "cmd/commands.h"
#include "cmd/exit_deadline.h"
#include "cmd/sqlite_schema.h"
#include "worker/worker.h"

namespace postoffice {
namespace {

std::unique_ptr<HttpServer> make_probe_server(const Config& config, const Metrics& metrics,
                                              std::function<std::vector<Readiness>()> readiness) {
  auto server = std::make_unique<HttpServer>(HttpServer::Options{.host = config.server_host,
                                                                 .port = *config.worker_port,
                                                                 .threads = 2,
                                                                 .port_setting = "WORKER_PORT"});
  add_probe_routes(*server, metrics, std::move(readiness));
  return server;
}

}  // namespace

int run_worker(const Config& config, size_t fetch_threads, Signals& signals) {
  std::optional<ExitDeadline> last_resort;  // First, so that it covers every destructor below.
  if (config.database_url.empty()) create_data_dir(config.data_dir);
  const auto factory =
      make_store_factory(config.database_url, config.data_dir, "postoffice worker");
  spdlog::info("worker {}: {}, object service {}", fetch_threads, describe_engines(config, factory),
               mask_passwords(config.objects_url));
  migrate_if_sqlite(config);

  Metrics metrics;
  const std::string hint = config.embedded_broker ? " (is serve running?)" : "";
  AmqpPublisher publisher(
      {.urls = config.amqp_urls, .name = "postoffice worker publisher", .hint = hint}, metrics);
  Worker::Options options;
  options.fetch_threads = fetch_threads;
  options.objects_url = config.objects_url;
  options.process_id = make_process_id();
  Worker worker(options, publisher, factory, metrics);
  Consumer consumer({.urls = config.amqp_urls,
                     .name = "postoffice worker consumer",
                     .queue = std::string(topology::kCallbacks),
                     .prefetch = worker.prefetch(),
                     .hint = hint},
                    worker.handler(), metrics);
  std::unique_ptr<HttpServer> probes;
  if (config.worker_port) {
    probes =
        make_probe_server(config, metrics, [&] { return worker.readiness(consumer.status()); });
    probes->start();
  }
  publisher.start();
  worker.start(consumer, [&] { return consumer.connected(); });
  consumer.start();

  signals.wait();
  const auto deadline = SteadyClock::now() + config.stop_timeout;
  consumer.cancel();
  // What hangs, such as the database, is left: what was not stored was not acknowledged.
  last_resort.emplace(deadline);
  worker.stop(deadline - closing_time(config.stop_timeout));
  consumer.stop(deadline);
  publisher.stop(deadline);
  if (probes) probes->stop(deadline);
  spdlog::info("worker: stopped");
  return 0;
}

}  // namespace postoffice
