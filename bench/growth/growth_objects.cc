#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/growth/growth.h"
#include "bench/processes/callback_server.h"
#include "bench/processes/engine.h"
#include "bench/processes/process.h"
#include "store/postgres_address.h"
#include "store/postgres_connection.h"
#include "store/store.h"

namespace postoffice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Environment = std::map<std::string, std::string>;

constexpr uint64_t kThreads = 200;
constexpr uint64_t kIdsOfCallback = 200;
constexpr int kLatencyMs = 10;
// Of each worker: more than it stores while it is looked at how much that is.
constexpr uint64_t kMostUnstored = 20'000;
constexpr auto kPatience = std::chrono::minutes(2);
constexpr auto kPoll = std::chrono::milliseconds(10);

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

std::string value(const std::string& name, double figure) {
  char text[32];
  snprintf(text, sizeof(text), "%.8g", figure);
  return name + "=" + text;
}

// --- Rows

// The objects table of the private PostgreSQL, at first empty, made by `postoffice migrate`.
class Table {
 public:
  explicit Table(const Bench& bench)
      : bench_(bench),
        url_(bench.environment.at("DATABASE_URL")),
        connection_(PostgresAddress(url_), "growth", kPatience) {
    Process migrate({bench.program("postoffice"), "migrate"}, {{"DATABASE_URL", url_}},
                    bench.folder, bench.folder + "/migrate.log");
    if (migrate.wait() != 0) {
      throw std::runtime_error("postoffice migrate failed: see " + bench.folder + "/migrate.log");
    }
    empty();
  }
  ~Table() {
    try {
      empty();
    } catch (const std::exception&) {  // It goes with the services.
    }
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const std::string& url() const { return url_; }

  void empty() { run("TRUNCATE objects"); }

  // Rows with the ids 1 to `rows`.
  void fill(uint64_t rows) {
    run("INSERT INTO objects SELECT id, id % 2 = 0, now(), now() FROM generate_series(" +
        std::to_string(rows_ + 1) + ", " + std::to_string(rows) + ") id");
    run("VACUUM ANALYZE objects");
    rows_ = rows;
  }

  std::chrono::microseconds postgres_cpu() const {
    std::chrono::microseconds sum{0};
    for (const pid_t pid : family_of(std::stoi(bench_.environment.at("POSTGRES_PID")))) {
      sum += cpu_time(pid);
    }
    return sum;
  }

  std::vector<Point> upserts() {
    const auto store = make_store_factory(url_, bench_.folder, "growth")();
    upsert_until(*store, Clock::now() + bench_.warm_up);
    const auto cpu = postgres_cpu();
    const auto began = Clock::now();
    const auto written = static_cast<double>(upsert_until(*store, began + bench_.duration));
    const double time = seconds(Clock::now() - began);
    return {{written / time, "rows upserted/s",
             static_cast<double>((postgres_cpu() - cpu).count()) / written, ""}};
  }

 private:
  static constexpr int kBatchRows = 500;

  uint64_t upsert_until(Store& store, Clock::time_point end) {
    std::uniform_int_distribution<int64_t> any(1, static_cast<int64_t>(rows_));
    uint64_t written = 0;
    while (Clock::now() < end) {
      const auto now = std::chrono::floor<Millis>(std::chrono::system_clock::now());
      std::vector<ObjectUpdate> updates(kBatchRows);
      for (auto& update : updates) {
        update.id = any(random_);
        update.online = random_() % 2 == 0;
        update.received_at = now;
        update.checked_at = now;
      }
      store.apply(std::move(updates));
      written += kBatchRows;
    }
    return written;
  }

  void run(const std::string& sql) {
    connection_.execute_script(sql, PostgresConnection::Deadline::clock::now() + kPatience);
  }

  const Bench& bench_;
  const std::string url_;
  PostgresConnection connection_;
  std::mt19937_64 random_{1};
  uint64_t rows_ = 0;
};

// --- Workers

// Embedded broker, PostgreSQL, workers, and the object service.
class Pipeline {
 public:
  Pipeline(const Bench& bench, const std::string& database_url, uint64_t workers, uint64_t threads,
           int latency_min_ms, int latency_max_ms)
      : bench_(bench),
        objects_({bench.program("tester_server")},
                 {{"OBJECTS_PORT", "{port}"},
                  {"COUNT", "0"},
                  {"LATENCY_MIN", std::to_string(latency_min_ms) + "ms"},
                  {"LATENCY_MAX", std::to_string(latency_max_ms) + "ms"}},
                 bench.folder + "/growth-objects"),
        serve_({bench.program("postoffice"), "serve"},
               {{"SERVER_PORT", "{port}"},
                {"BROKER_PORT", broker_port_},
                {"DATA_DIR", "{folder}/data"},
                {"DATABASE_URL", database_url}},
               bench.folder + "/growth") {
    serve_.wait_for_broker();
    for (uint64_t i = 0; i < workers; ++i) {
      workers_.push_back(std::make_unique<CallbackServer>(
          std::vector<std::string>{bench.program("postoffice"), "worker", std::to_string(threads)},
          Environment{
              {"WORKER_PORT", "{port}"},
              {"BROKER_PORT", broker_port_},
              {"DATA_DIR", "{folder}/data"},
              {"DATABASE_URL", database_url},
              {"OBJECTS_URL", "http://127.0.0.1:" + std::to_string(objects_.port()) + "/objects"}},
          bench.folder + "/growth-worker-" + std::to_string(i)));
    }
  }

  const CallbackServer& serve() const { return serve_; }

  // Distinct ids, as many as the workers need, until `stop`. One callback after another: a message
  // each, so that all workers get their share.
  void post_distinct(uint64_t most_unstored, const std::atomic<bool>& stop) const {
    constexpr uint64_t kUnobserved = 20;
    httplib::Client client("127.0.0.1", serve_.port());
    client.set_keep_alive(true);
    client.set_tcp_nodelay(true);
    uint64_t id = 0;
    for (uint64_t i = 1; !stop; ++i) {
      std::string body = R"({"object_ids":[)" + std::to_string(++id);
      while (id < i * kIdsOfCallback) body += "," + std::to_string(++id);
      const auto answer = client.Post("/callback", body + "]}", "application/json");
      if (!answer || answer->status != 202) throw std::runtime_error("a callback was not taken");
      if (i % kUnobserved != 0) continue;
      while (!stop && static_cast<double>(id) > stored() + static_cast<double>(most_unstored)) {
        std::this_thread::sleep_for(kPoll);
      }
    }
  }

  double stored() const {
    double sum = 0;
    for (const auto& worker : workers_) sum += worker->metric("postoffice_objects_stored_total");
    return sum;
  }

  std::chrono::microseconds worker_cpu() const {
    std::chrono::microseconds sum{0};
    for (const auto& worker : workers_) sum += worker->cpu_used();
    return sum;
  }

  // Of everything but PostgreSQL.
  std::chrono::microseconds all_cpu() const {
    return worker_cpu() + objects_.cpu_used() + serve_.cpu_used();
  }

  // Object requests that were answered; nothing while one is under way.
  std::optional<double> answered() const {
    const auto objects = stats_of(objects_).at("objects");
    if (objects.at("in_flight") != 0) return std::nullopt;
    return objects.at("answered").get<double>();
  }

  static nlohmann::json stats_of(const CallbackServer& tester) {
    httplib::Client client("127.0.0.1", tester.port());
    const auto answer = client.Get("/stats");
    if (!answer || answer->status != 200) throw std::runtime_error("no answer to GET /stats");
    return nlohmann::json::parse(answer->body);
  }

 private:
  const Bench& bench_;
  const std::string broker_port_ = std::to_string(free_port());
  CallbackServer objects_;
  CallbackServer serve_;
  std::vector<std::unique_ptr<CallbackServer>> workers_;
};

// Objects stored a second while more wait than can be fetched.
std::vector<Point> objects_stored(const Bench& bench, Table& table, uint64_t workers,
                                  uint64_t threads) {
  table.empty();
  Pipeline pipeline(bench, table.url(), workers, threads, kLatencyMs, kLatencyMs);
  std::atomic<bool> stop = false;
  auto posting = std::async(std::launch::async,
                            [&] { pipeline.post_distinct(kMostUnstored * workers, stop); });
  std::this_thread::sleep_for(2 * bench.warm_up);
  const auto before = pipeline.stored();
  const auto cpu = pipeline.worker_cpu();
  const auto all_cpu = pipeline.all_cpu() + table.postgres_cpu();
  const auto began = Clock::now();
  std::this_thread::sleep_for(bench.duration);
  const double stored = pipeline.stored() - before;
  const double elapsed = seconds(Clock::now() - began);
  const auto used = static_cast<double>((pipeline.worker_cpu() - cpu).count());
  const auto all_used =
      static_cast<double>((pipeline.all_cpu() + table.postgres_cpu() - all_cpu).count());
  stop = true;
  posting.get();
  return {{stored / elapsed, "objects stored/s", stored > 0 ? used / stored : 0,
           value("latency_ms", kLatencyMs) + " " +
               value("concurrency", static_cast<double>(workers * threads)) + " " +
               value("all_us", stored > 0 ? all_used / stored : 0)}};
}

// From the first send to the last in what tester_server calls a sent log.
double sent_seconds(const std::string& file) {
  double first_ms = std::numeric_limits<double>::max();
  double last_ms = 0;
  std::ifstream log(file);
  for (std::string line; std::getline(log, line);) {
    const double at_ms = std::stod(line);
    first_ms = std::min(first_ms, at_ms);
    last_ms = std::max(last_ms, at_ms);
  }
  return std::max(0.0, last_ms - first_ms) / 1000;
}

// Fetches that a burst of callbacks over few ids takes. The latencies are a tenth of the object
// service's 300 to 4,300 ms.
std::vector<Point> burst(const Bench& bench, Table& table, uint64_t callbacks) {
  constexpr int kLatencyMinMs = 30;
  constexpr int kLatencyMaxMs = 430;
  constexpr auto kQuiet = std::chrono::seconds(1);
  table.empty();
  Pipeline pipeline(bench, table.url(), 1, kThreads, kLatencyMinMs, kLatencyMaxMs);
  const auto cpu = pipeline.worker_cpu();
  const auto began = Clock::now();
  const std::string sent_log = bench.folder + "/sent-log";
  std::filesystem::remove(sent_log);
  const CallbackServer sender(
      {bench.program("tester_server")},
      {{"OBJECTS_PORT", "{port}"},
       {"BURST", "true"},
       {"COUNT", std::to_string(callbacks)},
       {"IDS_PER_CALLBACK", std::to_string(kIdsOfCallback)},
       {"ID_SPACE", "100"},
       {"SENT_LOG", sent_log},
       {"CALLBACK_URL",
        "http://127.0.0.1:" + std::to_string(pipeline.serve().port()) + "/callback"}},
      bench.folder + "/growth-sender");

  bool all_sent = false;
  double answered = -1;
  auto changed = began;
  while (!all_sent || Clock::now() - changed < kQuiet) {
    if (Clock::now() - began > kPatience) throw std::runtime_error("the burst does not end");
    if (!all_sent) {
      const auto by_status = Pipeline::stats_of(sender).at("callbacks").at("by_status");
      all_sent = by_status.value("202", uint64_t{0}) >= callbacks;
      changed = Clock::now();
    }
    const auto now_answered = pipeline.answered();
    if (!now_answered || *now_answered != answered) changed = Clock::now();
    answered = now_answered.value_or(-1);
    std::this_thread::sleep_for(kPoll);
  }
  const auto used = static_cast<double>((pipeline.worker_cpu() - cpu).count());
  return {
      {answered, "fetches", used / answered,
       value("burst_s", sent_seconds(sent_log)) + " " +
           value("messages", pipeline.serve().metric("postoffice_intake_messages_total")) + " " +
           value("all_s", seconds(changed - began)) + " " +
           value("worker_us_a_naming", used / static_cast<double>(callbacks * kIdsOfCallback))}};
}

}  // namespace

std::vector<Sweep> object_sweeps(const Bench& bench) {
  const auto with_table = [&bench](std::function<std::vector<Point>(Table&, uint64_t)> measure) {
    return [&bench, measure = std::move(measure)]() -> Sweep::Measure {
      return [table = std::make_shared<Table>(bench), measure](uint64_t x) {
        return measure(*table, x);
      };
    };
  };
  return {
      {"rows", "rows in the table", doubling(bench, 10'000, 10'240'000, 4),
       with_table([](Table& table, uint64_t x) {
         table.fill(x);
         return table.upserts();
       })},
      {"fetches", "fetches at once", doubling(bench, 1, 1024),
       with_table(
           [&bench](Table& table, uint64_t x) { return objects_stored(bench, table, 1, x); })},
      {"workers", "workers of 200", doubling(bench, 1, 8),
       with_table([&bench](Table& table, uint64_t x) {
         return objects_stored(bench, table, x, kThreads);
       })},
      {"coalescing", "callbacks in a burst", doubling(bench, 1, 1024, 4),
       with_table([&bench](Table& table, uint64_t x) { return burst(bench, table, x); })},
  };
}

}  // namespace postoffice::bench
