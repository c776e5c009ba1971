#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "base/process_id.h"
#include "broker/data_dir_lock.h"
#include "broker/intake.h"
#include "broker/publisher.h"
#include "broker/queue_monitor.h"
#include "broker/sqlite_outbox.h"
#include "cmd/announce.h"
#include "cmd/commands.h"
#include "cmd/embedded_broker.h"
#include "cmd/exit_deadline.h"
#include "cmd/sqlite_schema.h"
#include "server/server.h"

namespace postoffice {
namespace {

const std::string kDiskFailed = "the disk failed: replace it and restart";

Server::Options server_options(const Config& config, std::string process_id) {
  Server::Options options;
  options.http.host = config.server_host;
  options.http.port = config.server_port;
  options.http.threads = static_cast<size_t>(config.http_threads);
  options.http.max_connections = static_cast<size_t>(config.http_connections);
  options.http.max_connections_per_address =
      static_cast<size_t>(config.http_connections_per_address);
  options.http.max_body_bytes = config.max_callback_bytes;
  options.callbacks.max_ids = static_cast<size_t>(config.max_callback_ids);
  options.expiry.object_ttl = config.object_ttl;
  options.expiry.process_id = std::move(process_id);
  return options;
}

}  // namespace

int run_serve(const Config& config, Signals& signals) {
  std::optional<ExitDeadline> last_resort;  // First, so that it covers every destructor below.
  const DataDirLock lock(config.data_dir);
  const auto stores = make_store_factory(config.database_url, config.data_dir, "postoffice serve");
  SqliteOutbox outbox({.data_dir = config.data_dir, .max_bytes = config.outbox_max_bytes});
  spdlog::info("serve: http://{}:{}, {}, outbox in {} ({} callbacks)", config.server_host,
               config.server_port, describe_engines(config, stores), config.data_dir,
               outbox.depth().callbacks);
  migrate_if_sqlite(config);

  Metrics metrics;
  std::atomic<bool> disk_failed = false;
  const auto broker = make_embedded_broker(config, metrics, [&] {
    disk_failed = true;
    outbox.fail();  // The same disk: what it says it has written is not to be believed.
  });
  if (broker) broker->start();
  AmqpPublisher publisher({.urls = config.amqp_urls, .name = "postoffice serve publisher"},
                          metrics);
  QueueMonitor queue(config.amqp_urls, metrics);
  Intake intake({.deadline = config.confirm_deadline}, publisher, outbox, metrics);
  // The name of the outbox's owner, so only once the folder is locked.
  Server server(server_options(config, kept_process_id(config.data_dir + "/server-id")), intake,
                outbox, queue,
                {[&] { return publisher.available() && !disk_failed; },
                 [&] { return disk_failed ? kDiskFailed : publisher.status(); }},
                stores, metrics);
  intake.start();
  publisher.start();
  queue.start();
  server.start();

  signals.wait();
  const auto deadline = SteadyClock::now() + config.stop_timeout;
  // What hangs, such as a read of the database, is left: what was answered is durable.
  last_resort.emplace(deadline);
  server.stop_http(deadline - closing_time(config.stop_timeout));
  intake.stop();  // What the broker has not confirmed is committed to the outbox.
  publisher.stop(std::min(deadline, SteadyClock::now() + config.confirm_deadline));
  server.stop_expiry();
  queue.stop();
  if (broker) broker->stop();
  spdlog::info("serve: stopped, {} callbacks in the outbox", outbox.depth().callbacks);
  return 0;
}

}  // namespace postoffice
