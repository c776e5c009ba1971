#include <chrono>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/load/http_load.h"
#include "bench/load/idle_connections.h"
#include "bench/load/slow_clients.h"
#include "bench/pipeline.h"
#include "bench/processes/deployment.h"
#include "bench/processes/process.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

constexpr double kRate = 2000;  // Callbacks a second: far below what wears the machine out.
constexpr std::chrono::seconds kSettle{2};

double p99_ms(const Bench& bench, uint16_t port) {
  HttpLoadOptions options;
  options.port = port;
  options.rate = kRate;
  options.warm_up = bench.warm_up;
  options.duration = bench.duration;
  const auto result = run_http_load(options);
  return percentile({result.latencies_us.begin(), result.latencies_us.end()}, 99) / 1000;
}

// Percent of its probes that slowhttptest found answered.
double available_percent(const Bench& bench, uint16_t port, const std::string& mode) {
  const std::string log = bench.folder + "/slowhttptest.log";
  const std::string at = "http://127.0.0.1:" + std::to_string(port);
  const std::string seconds = bench.quick ? "2" : "20";
  std::vector<std::string> command = {"/usr/bin/slowhttptest",
                                      mode,
                                      "-c",
                                      "1000",
                                      "-r",
                                      "500",
                                      "-i",
                                      "1",
                                      "-l",
                                      seconds,
                                      "-p",
                                      "2"};
  const bool reads = mode == "-X";
  for (const auto& argument :
       reads ? std::vector<std::string>{"-w", "1", "-y", "2", "-n", "1", "-z", "8", "-k", "3", "-u",
                                        at + "/metrics"}
             : std::vector<std::string>{"-t", "POST", "-s", "8192", "-u", at + "/callback"}) {
    command.push_back(argument);
  }
  Process(command, {{"TERM", "dumb"}}, bench.folder, log).wait();
  std::ifstream lines(log);
  int probes = 0;
  int answered = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("service available") == std::string::npos) continue;
    ++probes;
    if (line.find("YES") != std::string::npos) ++answered;
  }
  if (probes == 0) throw std::runtime_error("slowhttptest " + mode + " said nothing: see " + log);
  return 100.0 * answered / probes;
}

}  // namespace

void crowd_rows(const Bench& bench, Report& report) {
  const size_t idle = bench.quick ? 500 : 10'000;
  const size_t slow = bench.quick ? 50 : 1000;
  Deployment deployment(bench, "crowd");
  const uint16_t port = deployment.start_serve().port();

  std::vector<double> crowded;
  std::vector<double> alone;
  for (int round = 0; round < bench.rounds; ++round) {
    alone.push_back(p99_ms(bench, port));
    const IdleConnections idle_ones(port, idle);
    const SlowClients slow_ones(port, slow);
    std::this_thread::sleep_for(bench.quick ? std::chrono::milliseconds(100) : kSettle);
    crowded.push_back(p99_ms(bench, port));
  }
  report.add({number(static_cast<double>(idle)) + " idle connections and " +
                  number(static_cast<double>(slow)) + " that send a byte a second: p99 at " +
                  number(kRate) + " callbacks/s",
              "ms", crowded, "without them", alone, Goal::at_most(2),
              "fdatasync of the broker's log"});

  const std::vector<std::pair<std::string, std::string>> modes = {
      {"-H", "headers"}, {"-B", "bodies"}, {"-X", "reads"}};
  for (const auto& [mode, what] : modes) {
    report.add({"slowhttptest, 1,000 slow " + what + ": service available",
                "%",
                {available_percent(bench, port, mode)},
                "",
                {},
                Goal::at_least(100),
                ""});
  }
}

}  // namespace postoffice::bench
