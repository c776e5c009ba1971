// The embedded broker beside RabbitMQ, in turn, on one machine: scripts/bench broker.

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/disk.h"
#include "bench/load/amqp_connection.h"
#include "bench/load/amqp_load.h"
#include "bench/processes/engine.h"
#include "bench/processes/null_broker.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

using std::chrono::milliseconds;

const std::string kQueue = "bench";
constexpr double kMiB = 1 << 20;

struct Settings {
  int rounds = 5;
  milliseconds duration{3000};
  milliseconds warm_up{500};
  // For what a run leaves to be done, such as the files of a queue that was deleted.
  milliseconds pause{1000};
  milliseconds idle{5000};
  uint64_t waiting = 1'000'000;
  int syncs = 100;  // A round.
};

constexpr Settings kQuick = {
    1, milliseconds(300), milliseconds(100), milliseconds(100), milliseconds(500), 20'000, 20};

// What is compared, in the order of the table's columns.
enum Target { kEmbedded, kQuorum, kClassic, kNull };
constexpr size_t kBrokers = 3;  // The null broker comes behind them.
constexpr size_t kTargets = 4;
constexpr const char* kNames[kTargets] = {"embedded", "quorum", "classic", "null"};

using Values = std::vector<double>;

std::string ratio_of(double value, double other) { return other > 0 ? number(value / other) : "-"; }

class BrokerBench {
 public:
  BrokerBench(const Settings& settings, const std::string& root, const std::string& services,
              const std::string& folder)
      : settings_(settings),
        folder_(folder),
        serve_(root + "/build/bench/bin/postoffice", folder + "/serve"),
        rabbitmq_(root + "/scripts/services", services) {}

  void run() {
    start(serve_);
    std::this_thread::sleep_for(settings_.idle);
    idle_memory();
    const auto most = publishes(1);
    publishes(8);
    deliveries(1);
    deliveries(8);
    latencies(most / 2);
    waiting();
    print();
  }

 private:
  Engine& engine(size_t target) {
    return target == kEmbedded ? static_cast<Engine&>(serve_) : rabbitmq_;
  }
  uint16_t port(size_t target) { return target == kNull ? null_.port() : engine(target).port(); }

  // --- Rows

  void idle_memory() {
    double all[kBrokers];
    double alone[kBrokers];
    double anonymous[kBrokers];
    for (size_t target = 0; target < kBrokers; ++target) {
      alone[target] = static_cast<double>(resident_bytes(engine(target).pid())) / kMiB;
      anonymous[target] =
          static_cast<double>(resident_anonymous_bytes(engine(target).pid())) / kMiB;
      all[target] = 0;
      for (const pid_t pid : engine(target).processes()) {
        all[target] += static_cast<double>(resident_bytes(pid)) / kMiB;
      }
    }
    add_row("idle memory, all processes, MiB", all, "<=0.10", 0.10, 0.10);
    add_row("idle memory, serve or beam.smp alone, MiB", alone, "", 0, 0);
    add_row("- of that, without program and libraries", anonymous, "", 0, 0);
  }

  // Returns what the slowest of all can do.
  double publishes(uint32_t connections) {
    LoadOptions options = load();
    options.connections = connections;
    const auto runs = in_turn(options, kTargets);
    const auto of = " (" + std::to_string(connections) + " conn.)";
    const auto rates =
        add_rates("confirmed publishes/s" + of, runs, &LoadResult::confirmed_per_second, 3, 6);
    add_latencies("full window" + of, runs);
    add_details("publish" + of, runs);
    return *std::min_element(rates.begin(), rates.begin() + kBrokers);
  }

  void deliveries(uint32_t connections) {
    LoadOptions options = load();
    options.connections = connections;
    options.consume = true;
    auto runs = in_turn(options, kTargets);
    // What goes all the way: neither a backlog that grows nor one that shrinks counts.
    for (auto& of_target : runs) {
      for (auto& run : of_target) {
        run.load.acknowledged_per_second =
            std::min(run.load.acknowledged_per_second, run.load.confirmed_per_second);
      }
    }
    const auto n = std::to_string(connections);
    const auto of = " (" + n + "+" + n + " conn.)";
    add_rates("published, delivered, acked/s" + of, runs, &LoadResult::acknowledged_per_second, 3,
              3);
    add_details("deliver" + of, runs);
  }

  void latencies(double rate) {
    LoadOptions options = load();
    options.rate = rate;
    const auto runs = in_turn(options, kTargets);
    add_latencies("at " + number(rate) + "/s (1 conn.)", runs);
    add_details("at a rate", runs);
  }

  void waiting() {
    double memory[kBrokers];
    double disk[kBrokers];
    double restart[kBrokers];
    double memory_after[kBrokers];
    for (size_t target = 0; target < kBrokers; ++target) {
      auto& broker = engine(target);
      // Its memory is to show what waits now, not what it held before.
      broker.kill();
      start(broker);
      declare(target);
      LoadOptions options = load();
      options.port = broker.port();
      options.in_flight = 10'000;
      options.messages = settings_.waiting;
      note(std::string("waiting messages: ") + kNames[target]);
      run_load(options);
      std::this_thread::sleep_for(settings_.idle);
      memory[target] = static_cast<double>(resident_bytes(broker.pid())) / kMiB;
      disk[target] = static_cast<double>(disk_bytes(broker.folder())) / kMiB;
      broker.kill();
      restart[target] = start(broker, settings_.waiting);
      memory_after[target] = static_cast<double>(resident_bytes(broker.pid())) / kMiB;
      AmqpConnection(broker.port()).delete_queue(kQueue);
    }
    const auto what = number(static_cast<double>(settings_.waiting)) + " waiting: ";
    add_row(what + "memory, MiB", memory, "<200 MB", 0, 0, memory[0] * kMiB < 200e6);
    add_row(what + "all files on disk, MiB", disk, "", 0, 0);
    add_row(what + "SIGKILL, exec to answer, s", restart, "<2 s", 0, 0, restart[0] < 2);
    add_row(what + "memory after that, MiB", memory_after, "", 0, 0);
  }

  // --- Runs

  struct Run {
    LoadResult load;
    double broker_cpu_us = 0;  // A message.
  };
  using Runs = std::vector<std::vector<Run>>;  // Of each target.

  LoadOptions load() const {
    LoadOptions options;
    options.queue = kQueue;
    options.warm_up = settings_.warm_up;
    options.duration = settings_.duration;
    return options;
  }

  void declare(size_t target) {
    AmqpConnection(port(target))
        .declare_queue(kQueue, target == kClassic ? QueueKind::kClassic : QueueKind::kQuorum);
  }

  Runs in_turn(LoadOptions options, size_t targets) {
    Runs runs(targets);
    for (int round = 0; round < settings_.rounds; ++round) {
      const auto syncs = sync_times(folder_, settings_.syncs);
      syncs_us_.insert(syncs_us_.end(), syncs.begin(), syncs.end());
      for (size_t target = 0; target < targets; ++target) {
        const pid_t pid = target == kNull ? null_.pid() : engine(target).pid();
        options.port = port(target);
        declare(target);
        const auto cpu = cpu_time(pid);
        Run run;
        run.load = run_load(options);
        run.broker_cpu_us = static_cast<double>((cpu_time(pid) - cpu).count()) /
                            static_cast<double>(std::max<uint64_t>(1, run.load.messages));
        note(std::string(kNames[target]) + ": " + number(run.load.confirmed_per_second) +
             " confirmed/s, " + number(run.load.acknowledged_per_second) + " acked/s");
        runs[target].push_back(std::move(run));
        AmqpConnection(port(target)).delete_queue(kQueue);
        std::this_thread::sleep_for(settings_.pause);
      }
    }
    return runs;
  }

  // Seconds until it answers, and the queue, if it is to hold messages, says that it does.
  static double start(Engine& broker, uint64_t messages = 0) {
    const auto from = Clock::now();
    broker.start();
    std::string why;
    while (Clock::now() < from + std::chrono::seconds(120)) {
      try {
        AmqpConnection connection(broker.port());
        if (messages == 0 || connection.ready(kQueue) == messages) {
          const double seconds = std::chrono::duration<double>(Clock::now() - from).count();
          broker.started();
          return seconds;
        }
        why = "the queue does not have all messages";
      } catch (const std::runtime_error& error) {
        why = error.what();
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    throw std::runtime_error("a broker did not start: " + why);
  }

  // --- Table

  Values add_rates(const std::string& name, const Runs& runs, double LoadResult::*rate,
                   double quorum_goal, double classic_goal) {
    Values medians;
    std::vector<std::string> spread = {name};
    for (const auto& of_target : runs) {
      Values values;
      for (const auto& run : of_target) values.push_back(run.load.*rate);
      medians.push_back(median(values));
      spread.push_back(number(*std::ranges::min_element(values)) + " to " +
                       number(*std::ranges::max_element(values)));
    }
    spreads_.push_back(spread);
    const bool met = medians[kEmbedded] >= quorum_goal * medians[kQuorum] &&
                     medians[kEmbedded] >= classic_goal * medians[kClassic];
    rows_.push_back({name, number(medians[kEmbedded]), number(medians[kQuorum]),
                     number(medians[kClassic]), ratio_of(medians[kEmbedded], medians[kQuorum]),
                     ratio_of(medians[kEmbedded], medians[kClassic]),
                     ">=" + number_of_times(quorum_goal) + ", >=" + number_of_times(classic_goal),
                     met ? "yes" : "NO", number(medians[kNull])});
    return medians;
  }

  static std::string number_of_times(double times) { return std::to_string(int(times)); }

  void add_latencies(const std::string& when, const Runs& runs) {
    for (const double percent : {50.0, 99.0}) {
      const auto name = (percent == 50 ? "p50" : "p99") + (" confirm, ms, " + when);
      double medians[kTargets];
      std::vector<std::string> spread = {name};
      for (size_t target = 0; target < kTargets; ++target) {
        Values values;
        for (const auto& run : runs[target]) {
          const Values all(run.load.latencies_us.begin(), run.load.latencies_us.end());
          values.push_back(percentile(all, percent) / 1000);
        }
        medians[target] = median(values);
        spread.push_back(number(*std::ranges::min_element(values)) + " to " +
                         number(*std::ranges::max_element(values)));
      }
      spreads_.push_back(spread);
      add_row(name, medians, percent == 50 ? "" : "<1", 1, 1);
      rows_.back().push_back(number(medians[kNull]));
    }
  }

  // Less is better: `goal` is met when the embedded broker has at most so much of what each has,
  // and `also` holds.
  void add_row(const std::string& name, const double* values, const std::string& goal,
               double quorum_goal, double classic_goal, bool also = true) {
    const bool met = also &&
                     (quorum_goal == 0 || values[kEmbedded] < quorum_goal * values[kQuorum]) &&
                     (classic_goal == 0 || values[kEmbedded] < classic_goal * values[kClassic]);
    const std::string verdict = met ? "yes" : "NO";
    rows_.push_back({name, number(values[kEmbedded]), number(values[kQuorum]),
                     number(values[kClassic]), ratio_of(values[kEmbedded], values[kQuorum]),
                     ratio_of(values[kEmbedded], values[kClassic]), goal,
                     goal.empty() ? "" : verdict});
  }

  void add_details(const std::string& name, const Runs& runs) {
    std::vector<std::string> row = {name};
    for (const auto& of_target : runs) {
      Values cpu;
      Values busy;
      for (const auto& run : of_target) {
        cpu.push_back(run.broker_cpu_us);
        busy.push_back(100 * run.load.busy);
      }
      row.push_back(number(median(cpu)) + " us, " + number(median(busy)) + " %");
    }
    details_.push_back(row);
  }

  void note(const std::string& text) const { fprintf(stderr, "%s\n", text.c_str()); }

  void print() {
    utsname system{};
    uname(&system);
    printf("machine: %u cores, %s %s, %s\n", std::thread::hardware_concurrency(), system.sysname,
           system.release, cpu_model().c_str());
    printf("disk: 4 KiB appended and fdatasync: median %s us, p99 %s us (%zu in this run)\n",
           number(median(syncs_us_)).c_str(), number(percentile(syncs_us_, 99)).c_str(),
           syncs_us_.size());
    printf(
        "medians of %d runs of %lld ms, in turn; 100-byte persistent messages, 1,000 in flight\n",
        settings_.rounds, static_cast<long long>(settings_.duration.count()));
    printf(
        "a confirm means: embedded: fdatasync of its log has returned. quorum (one node): the same "
        "of RabbitMQ's\nwrite-ahead log. classic durable: fsync of its index has returned, done "
        "when nothing else came or an interval\nis over.\n\n");
    std::vector<std::vector<std::string>> table = {{"", "embedded", "quorum", "classic", "/ quorum",
                                                    "/ classic", "goal", "met", "generator alone"}};
    table.insert(table.end(), rows_.begin(), rows_.end());
    printf("%s\n", aligned(table).c_str());
    table = {{"lowest to highest run", "embedded", "quorum", "classic", "generator alone"}};
    table.insert(table.end(), spreads_.begin(), spreads_.end());
    printf("%s\n", aligned(table).c_str());
    table = {{"broker's CPU a message, generator's share of a core", "embedded", "quorum",
              "classic", "generator alone"}};
    table.insert(table.end(), details_.begin(), details_.end());
    printf("%s", aligned(table).c_str());
  }

  static std::string cpu_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    }
    return "unknown processor";
  }

  const Settings settings_;
  const std::string folder_;
  Serve serve_;
  RabbitMq rabbitmq_;
  NullBroker null_;
  Values syncs_us_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::vector<std::string>> spreads_;
  std::vector<std::vector<std::string>> details_;
};

}  // namespace
}  // namespace postoffice::bench

// broker_bench ROOT SERVICES FOLDER [--quick]: the source tree, the folder given to
// scripts/services, and an empty one.
int main(int argc, char** argv) {
  using postoffice::bench::BrokerBench;
  const bool quick = argc == 5 && std::strcmp(argv[4], "--quick") == 0;
  if (argc != 4 && !quick) {
    fprintf(stderr, "usage: scripts/bench broker [--quick]\n");
    return 2;
  }
  try {
    BrokerBench(quick ? postoffice::bench::kQuick : postoffice::bench::Settings{}, argv[1], argv[2],
                argv[3])
        .run();
  } catch (const std::exception& error) {
    fprintf(stderr, "broker_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
