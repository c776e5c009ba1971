#include <algorithm>
#include <cstdlib>
#include <future>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/disk.h"
#include "bench/load/amqp_connection.h"
#include "bench/load/amqp_load.h"
#include "bench/load/http_load.h"
#include "bench/pipeline.h"
#include "bench/processes/callback_server.h"
#include "bench/processes/engine.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

using Values = std::vector<double>;

enum class Broker { kEmbedded, kRabbitMq };
constexpr Broker kBrokers[] = {Broker::kEmbedded, Broker::kRabbitMq};
size_t index(Broker broker) { return static_cast<size_t>(broker); }

const std::string kCallbacks = "postoffice.callbacks";  // The queue that serve publishes to.
const std::string kNodeQueue = "bench.node";
const std::string kCeilingQueue = "bench.ceiling";
const std::string kAlone;  // Compared with nothing.
const Goal kNoGoal;
const std::string kSync = "fdatasync of the broker's log";
const std::string kConfirm = "quorum queue confirm";
const std::string kNode = "Node.js, 1,024 connections, processes: ";
const std::string kPerSecond = "callbacks/s";

constexpr uint32_t kIds = 20;
constexpr uint32_t kFew = 64;
constexpr uint32_t kMany = 1024;
constexpr uint32_t kMost = 4000;

std::string in_front_of(Broker broker) {
  return broker == Broker::kEmbedded ? "ingest, embedded broker" : "ingest, RabbitMQ quorum queue";
}
std::string durability(Broker broker) { return broker == Broker::kEmbedded ? kSync : kConfirm; }

// A value for each round.
struct Runs {
  Values per_second;
  Values slowest_share;
  Values p99_ms;
  Values generator_busy;
  Values cpu_us;      // Of the server, a callback.
  Values via_outbox;  // Percent; of serve.
  // The p99 of what makes one callback durable, measured at the same time.
  Values durable_p99_ms;
};

// Callbacks that are made durable by themselves beside the load, a second: little load itself, and
// enough for a p99.
constexpr double kProbes = 100;

class IngestBench {
 public:
  IngestBench(const Bench& bench, Report& report)
      : bench_(bench),
        report_(report),
        rabbitmq_(bench.root + "/scripts/services", bench.services) {}

  void run() {
    maximum();
    few_and_most();
    for (const uint32_t ids : {1U, 200U}) sizes(ids);
    for (const Broker broker : kBrokers) latency(broker);
  }

 private:
  // --- Rows

  // Each server on as many connections as it is best with.
  void maximum() {
    Runs embedded;
    Runs rabbitmq;
    Runs httplib;
    Runs epoll;
    Runs node[2];
    Values ceiling;
    for (int round = 0; round < bench_.rounds; ++round) {
      serve(Broker::kEmbedded, load(kMany), embedded);
      peer({bench_.program("httplib_server"), "{port}"}, load(kFew), httplib);
      serve(Broker::kRabbitMq, load(kMany), rabbitmq);
      ceiling.push_back(publish_ceiling());
      node_peer(1, node[0]);
      node_peer(2, node[1]);
      peer({bench_.program("epoll_server"), "{port}"}, load(kMany), epoll);
    }
    most_[index(Broker::kEmbedded)] = median(embedded.per_second);
    most_[index(Broker::kRabbitMq)] = median(rabbitmq.per_second);

    const std::string on_embedded = in_front_of(Broker::kEmbedded) + ", 1,024 connections";
    const std::string plain_httplib = "plain cpp-httplib, 64 connections";
    add({on_embedded, kPerSecond, embedded.per_second, plain_httplib, httplib.per_second,
         Goal::at_least(1.0), kSync});
    add({on_embedded, kPerSecond, embedded.per_second, "bare epoll server, 1,024 connections",
         epoll.per_second, Goal::at_least(0.4), kSync});
    const std::string on_rabbitmq = in_front_of(Broker::kRabbitMq) + ", 1,024 connections";
    add({on_rabbitmq, kPerSecond, rabbitmq.per_second, plain_httplib, httplib.per_second,
         Goal::at_least(0.8), kConfirm});
    add({on_rabbitmq, kPerSecond, rabbitmq.per_second, "RabbitMQ, a message a callback", ceiling,
         Goal::at_least(1.0), kConfirm});
    for (size_t i = 0; i < std::size(node); ++i) {
      const std::string name = kNode + std::to_string(i + 1);
      add({on_rabbitmq, kPerSecond, rabbitmq.per_second, name, node[i].per_second, kNoGoal,
           kConfirm});
      note(name, node[i]);
    }
    note(on_embedded, embedded);
    note(on_rabbitmq, rabbitmq);
    note(plain_httplib, httplib);
    note("bare epoll server", epoll);
  }

  void few_and_most() {
    Runs few;
    Runs most;
    Values sync_bound;
    for (int round = 0; round < bench_.rounds; ++round) {
      sync_bound.push_back(kFew * 1e6 / median(sync_times(bench_.folder, bench_.quick ? 20 : 500)));
      serve(Broker::kEmbedded, load(kFew), few);
      serve(Broker::kEmbedded, load(kMost), most);
    }
    const std::string ours = in_front_of(Broker::kEmbedded);
    add({ours + ", 64 connections", kPerSecond, few.per_second, "64 in each sync of the disk",
         sync_bound, kNoGoal, kSync});
    add({"ingest, 4,000 connections", kPerSecond, most.per_second, "64 connections", few.per_second,
         Goal::at_least(0.7), kSync});
    add({"slowest connection's share at 4,000 connections", "of the mean", most.slowest_share,
         kAlone, Values(), Goal::at_least(0.05), kSync});
    note(ours + ", 64 connections", few);
    note(ours + ", 4,000 connections", most);
  }

  void sizes(uint32_t ids) {
    HttpLoadOptions options = load(kMany);
    options.ids = ids;
    Runs runs[std::size(kBrokers)];
    for (int round = 0; round < bench_.rounds; ++round) {
      for (const Broker broker : kBrokers) serve(broker, options, runs[index(broker)]);
    }
    for (const Broker broker : kBrokers) {
      const std::string name = in_front_of(broker) + ", 1,024 connections, " + std::to_string(ids) +
                               (ids == 1 ? " id" : " ids");
      const Runs& of = runs[index(broker)];
      add({name, kPerSecond, of.per_second, kAlone, Values(), kNoGoal, durability(broker)});
      note(name, of);
    }
  }

  void latency(Broker broker) {
    HttpLoadOptions options = load(kMany);
    options.rate = most_[index(broker)] / 2;
    Runs runs;
    Values alone_p99_ms;
    for (int round = 0; round < bench_.rounds; ++round) {
      alone_p99_ms.push_back(percentile(durable_times_us(broker), 99) / 1000);
      serve(broker, options, runs, /*probed=*/true);
    }
    Values allowed_ms;
    for (const double p99_ms : runs.durable_p99_ms) allowed_ms.push_back(3 * p99_ms + 2);
    const std::string name = in_front_of(broker) + ", p99 at half the maximum rate";
    const std::string one = broker == Broker::kEmbedded ? "sync" : "confirm";
    add({name, "ms", runs.p99_ms, "3 x p99 of a " + one + " at the same time + 2 ms", allowed_ms,
         Goal::at_most(1.0), durability(broker)});
    note(name + " (" + number(options.rate) + "/s)", runs);
    report_.note("p99 of a " + one + ", " + number(kProbes) + "/s: at the same time " +
                 number(median(runs.durable_p99_ms)) + " ms, alone " +
                 number(median(alone_p99_ms)) + " ms");
  }

  void add(Row row) { report_.add(std::move(row)); }

  void note(const std::string& name, const Runs& runs) {
    std::string text = name + ": " + number(median(runs.cpu_us)) +
                       " us of its CPU a callback; load generator busy " +
                       number(100 * median(runs.generator_busy)) + " % of a core";
    if (std::ranges::any_of(runs.via_outbox, [](double percent) { return percent > 0; })) {
      text += "; up to " + number(std::ranges::max(runs.via_outbox)) + " % kept in the outbox";
    }
    report_.note(text);
  }

  // --- Runs

  HttpLoadOptions load(uint32_t connections) const {
    HttpLoadOptions options;
    options.connections = connections;
    options.ids = kIds;
    options.warm_up = bench_.warm_up;
    options.duration = bench_.duration;
    return options;
  }

  std::string folder() const { return bench_.folder + "/ingest"; }

  // Nobody consumes, so each run has a new DATA_DIR and an empty queue: no backlog grows from run
  // to run.
  void serve(Broker broker, const HttpLoadOptions& options, Runs& runs, bool probed = false) {
    std::map<std::string, std::string> environment = {
        {"SERVER_PORT", "{port}"}, {"BROKER_PORT", "{broker_port}"}, {"DATA_DIR", "{folder}/data"}};
    if (broker == Broker::kRabbitMq) {
      environment["AMQP_URL"] = bench_.environment.at("AMQP_URL");
      delete_queue(kCallbacks);
    }
    {
      const CallbackServer server({bench_.program("postoffice"), "serve"}, environment, folder());
      server.wait_for_broker();
      const auto probe = probed ? std::optional(broker) : std::nullopt;
      const uint64_t answered = measure(server, options, runs, probe);
      runs.via_outbox.push_back(100 * server.via_outbox() / static_cast<double>(answered));
    }
    if (broker == Broker::kRabbitMq) delete_queue(kCallbacks);
  }

  void peer(const std::vector<std::string>& arguments, const HttpLoadOptions& options, Runs& runs,
            const std::map<std::string, std::string>& environment = {}) {
    measure(CallbackServer(arguments, environment, folder()), options, runs);
  }

  void node_peer(int processes, Runs& runs) {
    HttpLoadOptions options = load(kMany);
    options.warm_up *= 4;                          // Its code is compiled while it runs.
    const char* const path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread.
    delete_queue(kNodeQueue);
    peer({"/usr/bin/env", "node", bench_.root + "/bench/peers/node/ingest.js"}, options, runs,
         {{"AMQP_URL", bench_.environment.at("AMQP_URL")},
          {"NODE_ENV", "production"},
          {"NODE_PATH", bench_.node + "/node_modules"},
          {"PATH", path != nullptr ? path : "/usr/bin:/bin"},
          {"PORT", "{port}"},
          {"QUEUE", kNodeQueue},
          {"WORKERS", std::to_string(processes)}});
    delete_queue(kNodeQueue);
  }

  // Returns how many callbacks were answered, measured or not.
  uint64_t measure(const CallbackServer& server, HttpLoadOptions options, Runs& runs,
                   std::optional<Broker> probe = {}) {
    std::this_thread::sleep_for(bench_.pause);
    options.port = server.port();
    const auto cpu = server.cpu_used();
    std::future<Values> beside;
    if (probe) {
      beside = std::async(std::launch::async, [&] { return durable_times_us(*probe); });
    }
    const auto result = run_http_load(options);
    const auto used = server.cpu_used() - cpu;
    runs.per_second.push_back(result.answered_per_second);
    runs.slowest_share.push_back(slowest_share(result));
    runs.p99_ms.push_back(percentile({result.latencies_us.begin(), result.latencies_us.end()}, 99) /
                          1000);
    if (beside.valid()) runs.durable_p99_ms.push_back(percentile(beside.get(), 99) / 1000);
    runs.generator_busy.push_back(result.busy);
    runs.cpu_us.push_back(static_cast<double>(used.count()) / static_cast<double>(result.answered));
    return result.answered;
  }

  // What RabbitMQ confirms when each callback of 20 ids is a message.
  double publish_ceiling() {
    declare_ceiling_queue();
    std::this_thread::sleep_for(bench_.pause);
    const auto result = run_load(publishing());
    delete_queue(kCeilingQueue);
    return result.confirmed_per_second;
  }

  // What makes one callback durable, kProbes times a second as long as a run takes.
  Values durable_times_us(Broker broker) {
    if (broker == Broker::kEmbedded) {
      std::this_thread::sleep_for(bench_.warm_up);
      return sync_times_during(bench_.folder, bench_.duration,
                               std::chrono::milliseconds(static_cast<int64_t>(1e3 / kProbes)));
    }
    declare_ceiling_queue();
    LoadOptions options = publishing();
    options.rate = kProbes;
    const auto confirms = run_load(options).latencies_us;
    delete_queue(kCeilingQueue);
    return {confirms.begin(), confirms.end()};
  }

  LoadOptions publishing() const {
    LoadOptions options;
    options.port = rabbitmq_.port();
    options.queue = kCeilingQueue;
    options.body_bytes = callback_line_bytes(kIds);
    options.in_flight = 1000;
    options.warm_up = bench_.warm_up;
    options.duration = bench_.duration;
    return options;
  }

  void declare_ceiling_queue() {
    delete_queue(kCeilingQueue);
    AmqpConnection(rabbitmq_.port()).declare_queue(kCeilingQueue, QueueKind::kQuorum);
  }

  void delete_queue(const std::string& name) {
    AmqpConnection(rabbitmq_.port()).delete_queue(name);
  }

  const Bench& bench_;
  Report& report_;
  RabbitMq rabbitmq_;
  double most_[std::size(kBrokers)] = {};  // Callbacks/s over 1,024 connections, by Broker.
};

}  // namespace

void ingest_rows(const Bench& bench, Report& report) { IngestBench(bench, report).run(); }

}  // namespace postoffice::bench
