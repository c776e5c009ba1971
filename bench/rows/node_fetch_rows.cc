#include "bench/rows/node_fetch_rows.h"

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/load/amqp_connection.h"
#include "bench/load/callbacks.h"
#include "bench/processes/database.h"
#include "bench/processes/deployment.h"
#include "bench/processes/engine.h"
#include "bench/rows/fetch_window.h"
#include "bench/table.h"
#include "broker/amqp_url.h"
#include "broker/callback_message.h"
#include "broker/topology.h"

namespace postoffice::bench {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLatency{10};

struct Sizes {
  size_t fetches = 2000;
  size_t ids = 2'000'000;  // More than can be fetched in the time.
  milliseconds ramp_up{3000};
  milliseconds time{5000};
};
constexpr Sizes kQuick = {500, 200'000, milliseconds(500), milliseconds(1000)};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread.
  return value != nullptr ? value : "";
}

std::vector<double> values(const std::vector<FetchWindow>& windows, double FetchWindow::*value) {
  std::vector<double> all;
  all.reserve(windows.size());
  for (const auto& window : windows) all.push_back(window.*value);
  return all;
}

class NodeFetchRows {
 public:
  NodeFetchRows(const Bench& bench, const Sizes& sizes)
      : bench_(bench),
        sizes_(sizes),
        amqp_url_(bench.environment.at("AMQP_URL")),
        objects_(bench, kLatency, kLatency),
        database_(bench.environment.at("DATABASE_URL")) {}

  void run(Report& report) {
    std::vector<FetchWindow> ours;
    std::vector<FetchWindow> node;
    for (int round = 0; round < bench_.rounds; ++round) {
      ours.push_back(run_worker());
      node.push_back(run_node());
    }
    delete_queue();
    add_rows(ours, node, report);
  }

 private:
  FetchWindow run_worker() {
    refill();
    Deployment deployment(bench_, "worker");
    deployment.settings = {{"AMQP_URL", amqp_url_},
                           {"DATABASE_URL", database_.url()},
                           {"OBJECTS_URL", objects_.url()}};
    return measure(deployment.start_worker(sizes_.fetches));
  }

  FetchWindow run_node() {
    refill();
    const uint16_t port = free_port();
    const Service node({"/usr/bin/env", "node", bench_.root + "/bench/peers/node/worker.js"},
                       {{"PATH", environment("PATH")},
                        {"NODE_PATH", bench_.node + "/node_modules"},
                        {"NODE_ENV", "production"},
                        {"AMQP_URL", amqp_url_},
                        {"QUEUE", std::string(topology::kCallbacks)},
                        {"DATABASE_URL", database_.url()},
                        {"OBJECTS_URL", objects_.url()},
                        {"FETCHES", std::to_string(sizes_.fetches)},
                        {"METRICS_PORT", std::to_string(port)}},
                       bench_.folder, bench_.folder + "/node.log", port);
    node.wait_for("/healthz");
    return measure(node);
  }

  // An empty table, and in the queue the same as ever.
  void refill() {
    database_.fill(0, std::chrono::seconds(0));
    delete_queue();
    publish_callbacks(amqp_url_, {.callbacks = sizes_.ids / 200, .ids_each = 200}, kMessageBytes);
  }

  void delete_queue() const {
    std::string wanted;
    const auto urls = parse_amqp_urls(amqp_url_, wanted);
    if (!urls) throw std::runtime_error("AMQP_URL: " + wanted);
    AmqpConnection(urls->front().port).delete_queue(std::string(topology::kCallbacks));
  }

  FetchWindow measure(const Service& worker) {
    std::this_thread::sleep_for(sizes_.ramp_up);
    const auto window = measure_fetches(worker, objects_, sizes_.time);
    if (worker.metric("postoffice_objects_stored_total") >= static_cast<double>(sizes_.ids)) {
      throw std::runtime_error("there were not enough objects to fetch");
    }
    return window;
  }

  void add_rows(const std::vector<FetchWindow>& ours, const std::vector<FetchWindow>& node,
                Report& report) const {
    const std::string name =
        ", worker " + std::to_string(sizes_.fetches) + " at 10 ms, RabbitMQ and PostgreSQL";
    Row rate;
    rate.name = "objects stored/s" + name;
    rate.unit = "objects/s";
    rate.ours = values(ours, &FetchWindow::stored_per_second);
    rate.other_name = "Node.js: amqplib, undici, pg";
    rate.other = values(node, &FetchWindow::stored_per_second);
    rate.goal = Goal::at_least(3);
    Row cpu;
    cpu.name = "CPU an object" + name;
    cpu.unit = "us";
    cpu.ours = values(ours, &FetchWindow::cpu_us);
    cpu.other_name = rate.other_name;
    cpu.other = values(node, &FetchWindow::cpu_us);
    report.add(std::move(rate));
    report.add(std::move(cpu));
    const auto busy = [](const std::vector<FetchWindow>& windows) {
      return number(median(values(windows, &FetchWindow::busy))) + " cores, the object service " +
             number(median(values(windows, &FetchWindow::objects_busy)));
    };
    report.note("At 10 ms the worker used " + busy(ours) +
                "; Node.js, which has one thread, used " + busy(node) +
                ". What has one thread and stays well below 1 was kept from the " +
                "cores by others: then the ratio of the rates says nothing, that of CPU does.");
  }

  const Bench& bench_;
  const Sizes sizes_;
  const std::string amqp_url_;
  const ObjectService objects_;
  Database database_;
};

}  // namespace

void node_fetch_rows(const Bench& bench, Report& report) {
  NodeFetchRows(bench, bench.quick ? kQuick : Sizes()).run(report);
}

}  // namespace postoffice::bench
