// Postoffice beside its ceilings and peers, in turn, on one machine: scripts/bench.

#include <spdlog/spdlog.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/disk.h"
#include "bench/pipeline.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

using Rows = void (*)(const Bench&, Report&);
// What needs a quiet disk comes before the ten million rows of `store`.
const std::vector<std::pair<std::string, Rows>> kGroups = {
    {"ingest", ingest_rows}, {"crowd", crowd_rows},         {"fetch", fetch_rows},
    {"store", store_rows},   {"footprint", footprint_rows},
};

int usage() {
  fprintf(stderr, "usage: scripts/bench [--quick] [ingest] [crowd] [fetch] [store] [footprint]\n");
  return 2;
}

std::map<std::string, std::string> read_environment(const std::string& file) {
  std::map<std::string, std::string> environment;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    if (equals != std::string::npos) environment[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return environment;
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

void print_machine(const Bench& bench) {
  utsname system{};
  uname(&system);
  printf("machine: %u cores, %s %s, %s\n", std::thread::hardware_concurrency(), system.sysname,
         system.release, cpu_model().c_str());
  const auto syncs = sync_times(bench.folder, bench.quick ? 20 : 500);
  printf("disk: 4 KiB appended and fdatasync: median %s us, p99 %s us\n",
         number(median(syncs)).c_str(), number(percentile(syncs, 99)).c_str());
  printf("medians of %d rounds of %lld ms, in turn with what they are compared with\n\n",
         bench.rounds, static_cast<long long>(bench.duration.count()));
}

}  // namespace
}  // namespace postoffice::bench

// pipeline_bench ROOT SERVICES FOLDER NODE [--quick] [GROUP...]; with CSV_FILE set, all rows go
// there too.
int main(int argc, char** argv) {
  using namespace postoffice::bench;
  if (argc < 5) return usage();
  spdlog::set_level(spdlog::level::warn);  // What of the product runs in this process.
  Bench bench;
  bench.root = argv[1];
  bench.services = argv[2];
  bench.folder = argv[3];
  bench.node = argv[4];
  std::vector<std::string> wanted;
  for (int i = 5; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      bench.quick = true;
      bench.rounds = 1;
      bench.warm_up = std::chrono::milliseconds(100);
      bench.duration = std::chrono::milliseconds(300);
      bench.pause = std::chrono::milliseconds(50);
    } else {
      wanted.emplace_back(argv[i]);
    }
  }
  for (const auto& name : wanted) {
    if (std::ranges::none_of(kGroups, [&](const auto& group) { return group.first == name; })) {
      return usage();
    }
  }
  try {
    bench.environment = read_environment(bench.services + "/env");
    print_machine(bench);
    Report report;
    for (const auto& [name, rows] : kGroups) {
      if (wanted.empty() || std::ranges::find(wanted, name) != wanted.end()) rows(bench, report);
    }
    report.print();
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread.
    if (const char* const file = std::getenv("CSV_FILE")) std::ofstream(file) << report.csv();
  } catch (const std::exception& error) {
    fprintf(stderr, "pipeline_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
