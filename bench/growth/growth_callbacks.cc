#include <algorithm>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/growth/growth.h"
#include "bench/load/amqp_connection.h"
#include "bench/load/amqp_load.h"
#include "bench/load/http_load.h"
#include "bench/processes/callback_server.h"
#include "bench/processes/engine.h"
#include "bench/processes/process.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

using Environment = std::map<std::string, std::string>;

constexpr uint32_t kIds = 20;
constexpr uint32_t kConnections = 256;
constexpr uint32_t kConnectionsOfAllServers = 1024;
constexpr uint32_t kMessageBytes = 64'000;  // Of serve's own: up to 64 KiB.
constexpr uint32_t kMessagesInFlight = 64;
const std::string kQueue = "postoffice.callbacks";

HttpLoadOptions load(const Bench& bench, uint32_t connections, uint32_t ids) {
  HttpLoadOptions options;
  options.connections = connections;
  options.ids = ids;
  options.warm_up = bench.warm_up;
  options.duration = bench.duration;
  return options;
}

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::string value(const std::string& name, double figure) {
  char text[32];
  snprintf(text, sizeof(text), "%.8g", figure);
  return name + "=" + text;
}

// CPU of the load generator, which runs beside what is measured, a callback.
std::string generator_us(double busy, double per_second) {
  return value("generator_us", per_second > 0 ? busy * 1e6 / per_second : 0);
}

CallbackServer embedded(const Bench& bench) {
  CallbackServer server(
      {bench.program("postoffice"), "serve"},
      {{"SERVER_PORT", "{port}"}, {"BROKER_PORT", "{broker_port}"}, {"DATA_DIR", "{folder}/data"}},
      bench.folder + "/growth");
  server.wait_for_broker();
  return server;
}

struct Measured {
  HttpLoadResult result;
  double cpu_us = 0;
  double thread_us = 0;  // Of its busiest thread.
  double kept = 0;       // Callbacks that went to the outbox.
};

// CPU of the thread of `process` that has used most since `before`.
std::chrono::microseconds busiest(pid_t process,
                                  const std::map<pid_t, std::chrono::microseconds>& before) {
  std::chrono::microseconds most{0};
  for (const auto& [thread, time] : thread_times(process)) {
    const auto then = before.find(thread);
    most = std::max(most, then == before.end() ? time : time - then->second);
  }
  return most;
}

Measured measure(const CallbackServer& server, HttpLoadOptions options) {
  options.port = server.port();
  const auto cpu = server.cpu_used();
  const auto threads = thread_times(server.pid());
  Measured measured{run_http_load(options)};
  const auto answered = static_cast<double>(measured.result.answered);
  measured.cpu_us = static_cast<double>((server.cpu_used() - cpu).count()) / answered;
  measured.thread_us = static_cast<double>(busiest(server.pid(), threads).count()) / answered;
  measured.kept = server.via_outbox();
  return measured;
}

std::string note(const Measured& measured) {
  return generator_us(measured.result.busy, measured.result.answered_per_second) + " " +
         value("thread_us", measured.thread_us) + " " +
         value("outbox_percent",
               100 * measured.kept / static_cast<double>(measured.result.answered));
}

std::vector<Point> connections(const Bench& bench, uint64_t x) {
  const auto server = embedded(bench);
  const auto measured = measure(server, load(bench, static_cast<uint32_t>(x), kIds));
  const auto& result = measured.result;
  const std::vector<double> latencies(result.latencies_us.begin(), result.latencies_us.end());
  return {{result.answered_per_second, "callbacks/s", measured.cpu_us, note(measured)},
          {percentile(latencies, 99) / 1000, "ms p99", 0, ""}};
}

std::vector<Point> ids(const Bench& bench, uint64_t x) {
  const auto server = embedded(bench);
  const auto measured = measure(server, load(bench, kConnections, static_cast<uint32_t>(x)));
  const auto per_callback = static_cast<double>(x);
  const double per_second = measured.result.answered_per_second;
  return {{per_second, "callbacks/s", measured.cpu_us, note(measured)},
          {per_second * per_callback, "ids/s", measured.cpu_us / per_callback, ""}};
}

// Of a serve that keeps its data from step to step.
class Backlog {
 public:
  explicit Backlog(const Bench& bench) : bench_(bench), folder_(bench.folder + "/growth-backlog") {
    std::filesystem::remove_all(folder_);
    start();
  }
  ~Backlog() {
    server_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  std::vector<Point> measure_at(uint64_t callbacks) {
    if (callbacks > waiting_) fill(callbacks - waiting_);
    const auto resident = static_cast<double>(resident_bytes(server_->pid())) / (1 << 20);
    server_.reset();  // SIGKILL.
    const auto killed = std::chrono::steady_clock::now();
    start();
    const double restart = seconds(std::chrono::steady_clock::now() - killed);
    const std::string waiting = value("waiting", static_cast<double>(waiting_));
    const auto measured = measure(*server_, load(bench_, kConnections, kIds));
    waiting_ += measured.result.answered;
    return {{measured.result.answered_per_second, "callbacks/s", measured.cpu_us,
             waiting + " " + note(measured)},
            {resident, "MiB resident", 0, waiting},
            {restart, "s to restart", 0, waiting}};
  }

 private:
  void start() {
    broker_port_ = free_port();
    server_ = std::make_unique<CallbackServer>(
        std::vector<std::string>{bench_.program("postoffice"), "serve"},
        Environment{{"SERVER_PORT", "{port}"},
                    {"BROKER_PORT", std::to_string(broker_port_)},
                    {"DATA_DIR", folder_}},
        bench_.folder + "/growth");
    server_->wait_for_broker();
  }

  // Nobody consumes: bytes of the right number will do.
  void fill(uint64_t callbacks) {
    LoadOptions options;
    options.port = broker_port_;
    options.queue = kQueue;
    options.body_bytes = kMessageBytes;
    options.in_flight = kMessagesInFlight;
    options.warm_up = {};
    const uint64_t of_a_message = kMessageBytes / callback_line_bytes(kIds);
    options.messages = (callbacks + of_a_message - 1) / of_a_message;
    run_load(options);
    waiting_ += options.messages * of_a_message;
  }

  const Bench& bench_;
  const std::string folder_;
  uint16_t broker_port_ = 0;
  std::unique_ptr<CallbackServer> server_;
  uint64_t waiting_ = 0;
};

std::chrono::microseconds cpu_of(const std::vector<pid_t>& processes) {
  std::chrono::microseconds sum{0};
  for (const pid_t pid : processes) sum += cpu_time(pid);
  return sum;
}

// The connections are those of all servers together.
std::vector<Point> servers(const Bench& bench, uint64_t x) {
  const RabbitMq rabbitmq(bench.root + "/scripts/services", bench.services);
  AmqpConnection(rabbitmq.port()).delete_queue(kQueue);
  std::vector<std::unique_ptr<CallbackServer>> all;
  for (uint64_t i = 0; i < x; ++i) {
    all.push_back(std::make_unique<CallbackServer>(
        std::vector<std::string>{bench.program("postoffice"), "serve"},
        Environment{{"SERVER_PORT", "{port}"},
                    {"DATA_DIR", "{folder}/data"},
                    {"AMQP_URL", bench.environment.at("AMQP_URL")}},
        bench.folder + "/growth-" + std::to_string(i)));
    all.back()->wait_for_broker();
  }
  const auto processes = rabbitmq.processes();
  const auto rabbitmq_cpu = cpu_of(processes);
  const auto options = load(bench, kConnectionsOfAllServers / static_cast<uint32_t>(x), kIds);
  std::vector<std::future<Measured>> runs;
  for (const auto& server : all) {
    runs.push_back(std::async(std::launch::async, measure, std::cref(*server), options));
  }
  double per_second = 0;
  double cpu_us = 0;
  double thread_us = 0;
  double busy = 0;
  double answered = 0;
  double kept = 0;
  for (auto& run : runs) {
    const auto measured = run.get();
    const auto of_it = static_cast<double>(measured.result.answered);
    per_second += measured.result.answered_per_second;
    busy += measured.result.busy;
    cpu_us += measured.cpu_us * of_it;
    thread_us += measured.thread_us * of_it;
    answered += of_it;
    kept += measured.kept;
  }
  const auto rabbitmq_us = static_cast<double>((cpu_of(processes) - rabbitmq_cpu).count());
  double messages = 0;
  for (const auto& server : all) messages += server->metric("postoffice_intake_messages_total");
  all.clear();
  AmqpConnection(rabbitmq.port()).delete_queue(kQueue);
  return {{per_second, "callbacks/s", cpu_us / answered,
           generator_us(busy, per_second) + " " + value("rabbitmq_us", rabbitmq_us / answered) +
               " " + value("callbacks_a_message", messages > 0 ? (answered - kept) / messages : 0) +
               " " + value("thread_us", thread_us / answered) + " " +
               value("outbox_percent", 100 * kept / answered)}};
}

std::vector<uint64_t> backlog_steps(const Bench& bench) {
  auto steps = doubling(bench, uint64_t{1} << 17, uint64_t{1} << 22);
  if (bench.quick) steps = {1000};
  steps.insert(steps.begin(), 0);
  return steps;
}

}  // namespace

std::vector<Sweep> callback_sweeps(const Bench& bench) {
  const auto stateless = [&bench](std::vector<Point> (*measure)(const Bench&, uint64_t)) {
    return [&bench, measure]() -> Sweep::Measure {
      return [&bench, measure](uint64_t x) { return measure(bench, x); };
    };
  };
  return {
      {"connections", "connections", doubling(bench, 1, 8192), stateless(connections)},
      {"ids", "ids a callback", doubling(bench, 1, 8192), stateless(ids)},
      {"backlog", "callbacks waiting", backlog_steps(bench),
       [&bench]() -> Sweep::Measure {
         return [backlog = std::make_shared<Backlog>(bench)](uint64_t x) {
           return backlog->measure_at(x);
         };
       }},
      {"servers", "servers", doubling(bench, 1, 8), stateless(servers)},
  };
}

}  // namespace postoffice::bench
