#include "bench/rows/memory_rows.h"

#include <string>
#include <thread>
#include <utility>

#include "bench/load/callbacks.h"
#include "bench/load/idle_connections.h"
#include "bench/processes/deployment.h"
#include "bench/processes/process.h"
#include "bench/table.h"
#include "broker/callback_message.h"

namespace postoffice::bench {
namespace {

using std::chrono::milliseconds;

struct Sizes {
  size_t connections = 4000;
  size_t fetches = 10'000;
  milliseconds least_latency{300};
  milliseconds most_latency{4300};
  size_t callbacks = 1'000'000;  // That wait in the queue.
};
constexpr Sizes kQuick = {400, 1000, milliseconds(300), milliseconds(1300), 20'000};

constexpr size_t kIdsEach = 20;
// What serve makes of callbacks that come one after another: a message each.
constexpr size_t kOneCallback = 1;

double resident(const Service& service) {
  return static_cast<double>(resident_bytes(service.pid()));
}

std::string number_of(size_t count) { return number(static_cast<double>(count)); }

Row row(std::string name, std::string unit, Goal goal) {
  Row row;
  row.name = std::move(name);
  row.unit = std::move(unit);
  row.goal = goal;
  return row;
}

void serve_rows(const Bench& bench, const Sizes& sizes, Report& report) {
  Row idle = row("memory, serve idle", "MB", Goal::at_most(25));
  Row connection =
      row("memory, an idle connection, of " + number_of(sizes.connections), "KB", Goal::at_most(4));
  for (int round = 0; round < bench.rounds; ++round) {
    Deployment deployment(bench, "memory");
    const auto& serve = deployment.start_serve();
    post_callbacks(serve.port(), {.callbacks = 1, .ids_each = kIdsEach});
    std::this_thread::sleep_for(bench.duration);
    const double before = resident(serve);
    idle.ours.push_back(before / 1e6);
    const IdleConnections connections(serve.port(), sizes.connections);
    std::this_thread::sleep_for(bench.pause);
    connection.ours.push_back((resident(serve) - before) / 1e3 /
                              static_cast<double>(sizes.connections));
  }
  report.add(std::move(idle));
  report.add(std::move(connection));
}

// All of the worker, of which 10,000 stacks are most, by the fetches that it has under way.
void fetch_row(const Bench& bench, const Sizes& sizes, Report& report) {
  Row fetch =
      row("memory, a fetch in flight, worker " + number_of(sizes.fetches), "KB", Goal::at_most(32));
  const auto fetches = static_cast<double>(sizes.fetches);
  for (int round = 0; round < bench.rounds; ++round) {
    const ObjectService objects(bench, sizes.least_latency, sizes.most_latency);
    Deployment deployment(bench, "memory");
    deployment.settings["OBJECTS_URL"] = objects.url();
    const auto& serve = deployment.start_serve();
    post_callbacks(serve.port(), {.callbacks = sizes.fetches / 25});  // Eight for each fetch.
    const auto& worker = deployment.start_worker(sizes.fetches);
    wait_until("fetches in flight",
               [&] { return worker.metric("postoffice_fetches_in_flight") >= 0.99 * fetches; });
    // Each thread has done one and more by then.
    std::this_thread::sleep_for(sizes.most_latency);
    fetch.ours.push_back(resident(worker) / 1e3 / fetches);
  }
  report.add(std::move(fetch));
}

void queued_row(const Bench& bench, const Sizes& sizes, size_t message_bytes,
                const std::string& messages, Report& report) {
  Row queued = row("memory, a queued id, " + number_of(sizes.callbacks) + " callbacks of " +
                       std::to_string(kIdsEach) + ", " + messages,
                   "B", Goal::at_most(64));
  const DistinctIds ids = {.callbacks = sizes.callbacks, .ids_each = kIdsEach};
  for (int round = 0; round < bench.rounds; ++round) {
    Deployment deployment(bench, "memory");
    const auto& serve = deployment.start_serve();
    const double before = resident(serve);
    publish_callbacks(deployment.amqp_url(), ids, message_bytes);
    std::this_thread::sleep_for(bench.pause);
    queued.ours.push_back((resident(serve) - before) /
                          static_cast<double>(sizes.callbacks * kIdsEach));
  }
  report.add(std::move(queued));
}

}  // namespace

void memory_rows(const Bench& bench, Report& report) {
  const Sizes sizes = bench.quick ? kQuick : Sizes();
  serve_rows(bench, sizes, report);
  fetch_row(bench, sizes, report);
  queued_row(bench, sizes, kMessageBytes, "in messages of 64 KiB", report);
  queued_row(bench, sizes, kOneCallback, "a message each", report);
}

}  // namespace postoffice::bench
