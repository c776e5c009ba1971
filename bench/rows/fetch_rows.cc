#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "bench/load/callbacks.h"
#include "bench/pipeline.h"
#include "bench/processes/database.h"
#include "bench/processes/deployment.h"
#include "bench/processes/process.h"
#include "bench/rows/burst_row.h"
#include "bench/rows/fetch_window.h"
#include "bench/rows/node_fetch_rows.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;

struct Sizes {
  size_t fetches = 10'000;
  milliseconds least_latency{300};
  milliseconds most_latency{4300};
  milliseconds time{10'000};
  size_t callbacks = 1000;  // Of 200 ids: more than can be fetched in the time.

  // All threads begin at once; after two answers each, those come at a steady rate.
  milliseconds ramp_up() const { return 2 * most_latency; }
  double ideal() const {
    return static_cast<double>(fetches) /
           duration<double>((least_latency + most_latency) / 2).count();
  }
};
constexpr Sizes kQuick = {1000, milliseconds(100), milliseconds(500), milliseconds(1000), 100};

// `database_url` empty: SQLite, whose work is the worker's own.
FetchWindow run_worker(const Bench& bench, const Sizes& sizes, const std::string& database_url) {
  const ObjectService objects(bench, sizes.least_latency, sizes.most_latency);
  Deployment deployment(bench, "fetch");
  deployment.settings = {{"OBJECTS_URL", objects.url()}, {"DATABASE_URL", database_url}};
  post_callbacks(deployment.start_serve().port(), {.callbacks = sizes.callbacks});
  const auto& worker = deployment.start_worker(sizes.fetches);
  const double most = static_cast<double>(sizes.fetches);
  wait_until("fetches in flight",
             [&] { return worker.metric("postoffice_fetches_in_flight") >= 0.99 * most; });
  std::this_thread::sleep_for(sizes.ramp_up());
  return measure_fetches(worker, objects, sizes.time);
}

// Microseconds of CPU a fetch.
double run_bare_fetches(const Bench& bench, const Sizes& sizes) {
  const ObjectService objects(bench, sizes.least_latency, sizes.most_latency);
  const std::string output = bench.folder + "/httplib_fetch.out";
  const auto seconds = [](milliseconds time) {
    return std::to_string(duration<double>(time).count());
  };
  // It too has to start its threads, which takes a moment.
  Process peer({bench.program("httplib_fetch"), std::to_string(objects.port()),
                std::to_string(sizes.fetches), seconds(sizes.ramp_up() + milliseconds(2000)),
                seconds(sizes.time)},
               {}, bench.folder, output);
  const int status = peer.wait();
  double answered = 0;
  double cpu_us = 0;
  std::ifstream(output) >> answered >> cpu_us;
  std::filesystem::remove(output);
  if (status != 0 || answered == 0) throw std::runtime_error("httplib_fetch failed");
  return cpu_us / answered;
}

// The worker with one database.
struct WorkerRows {
  WorkerRows(const Sizes& sizes, const std::string& database) {
    const std::string name = ", worker " + std::to_string(sizes.fetches) + ", " +
                             std::to_string(sizes.least_latency.count()) + " to " +
                             number(static_cast<double>(sizes.most_latency.count())) +
                             " ms, embedded broker and " + database;
    rate.name = "objects stored/s" + name;
    rate.unit = "objects/s";
    rate.other_name = std::to_string(sizes.fetches) + " / mean latency";
    rate.goal = Goal::at_least(0.97);
    cpu.name = "CPU an object, fetch + coalesce + store" + name;
    cpu.unit = "us";
    cpu.other_name = "bare cpp-httplib fetches, as many threads";
    cpu.goal = Goal::at_most(1.3);
  }

  void add_round(const FetchWindow& window, double ideal, double bare_cpu_us) {
    rate.ours.push_back(window.stored_per_second);
    rate.other.push_back(ideal);
    cpu.ours.push_back(window.cpu_us);
    cpu.other.push_back(bare_cpu_us);
  }

  Row rate;
  Row cpu;
};

void worker_rows(const Bench& bench, const Sizes& sizes, Report& report) {
  Database database(bench.environment.at("DATABASE_URL"));
  WorkerRows sqlite(sizes, "SQLite");
  WorkerRows postgres(sizes, "PostgreSQL");
  for (int round = 0; round < bench.rounds; ++round) {
    const auto with_sqlite = run_worker(bench, sizes, "");
    const double bare_cpu_us = run_bare_fetches(bench, sizes);
    database.fill(0, std::chrono::seconds(0));
    const auto with_postgres = run_worker(bench, sizes, database.url());
    sqlite.add_round(with_sqlite, sizes.ideal(), bare_cpu_us);
    postgres.add_round(with_postgres, sizes.ideal(), bare_cpu_us);
  }
  for (auto* const rows : {&sqlite, &postgres}) {
    report.add(std::move(rows->rate));
    report.add(std::move(rows->cpu));
  }
  report.note(
      "With SQLite the CPU of the worker includes the database's, with PostgreSQL it does not.");
}

}  // namespace

void fetch_rows(const Bench& bench, Report& report) {
  worker_rows(bench, bench.quick ? kQuick : Sizes(), report);
  node_fetch_rows(bench, report);
  burst_row(bench, report);
}

}  // namespace postoffice::bench
