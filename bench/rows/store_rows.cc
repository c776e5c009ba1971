#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/load/plain_upserts.h"
#include "bench/pipeline.h"
#include "bench/processes/database.h"
#include "bench/processes/deployment.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kBatchRows = 500;
const std::string kBatches = "batches of " + std::to_string(kBatchRows) + " random ids";
const std::string kDurability = "committed, synchronous_commit=on";

struct Sizes {
  int64_t many_rows = 10'000'000;
  int64_t expired_rows = 1'000'000;
};
constexpr Sizes kQuick = {20'000, 20'000};

using Ids = std::vector<int64_t>;
using Upsert = std::function<void(const Ids&)>;

// Distinct ids of `first` to `first` + `range` − 1, rising, as the store writes them.
class RandomIds {
 public:
  RandomIds(int64_t first, int64_t range) : any_(first, first + range - 1) {}
  Ids next() {
    Ids ids(kBatchRows);
    for (auto& id : ids) id = any_(random_);
    std::ranges::sort(ids);
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  }

 private:
  std::mt19937_64 random_{1};
  std::uniform_int_distribution<int64_t> any_;
};

Upsert through(Store& store) {
  return [&store](const Ids& ids) {
    const auto now = unix_now();
    std::vector<ObjectUpdate> updates;
    updates.reserve(ids.size());
    for (const int64_t id : ids) {
      updates.push_back({.id = id, .online = true, .received_at = now, .checked_at = now});
    }
    store.apply(std::move(updates));
  };
}

// Rows a second.
double run_for(milliseconds time, RandomIds& ids, const Upsert& upsert) {
  const auto began = SteadyClock::now();
  size_t rows = 0;
  while (SteadyClock::now() - began < time) {
    const auto batch = ids.next();
    upsert(batch);
    rows += batch.size();
  }
  return static_cast<double>(rows) / duration<double>(SteadyClock::now() - began).count();
}

double rows_per_second(const Bench& bench, RandomIds& ids, const Upsert& upsert) {
  run_for(bench.warm_up, ids, upsert);
  return run_for(bench.duration, ids, upsert);
}

void upsert_rows(const Bench& bench, const Sizes& sizes, Database& database, Report& report) {
  const auto store = database.stores()();
  PlainUpserts plain(database.url());
  RandomIds ids(1, sizes.many_rows);
  Row beside_plain;
  beside_plain.name = "rows upserted/s through the store on PostgreSQL, " + kBatches;
  beside_plain.unit = "rows/s";
  beside_plain.other_name = "the same statement, prepared, plain libpq";
  beside_plain.goal = Goal::at_least(0.9);
  beside_plain.durability = kDurability;
  for (int round = 0; round < bench.rounds; ++round) {
    database.fill(0, seconds(0));
    beside_plain.ours.push_back(rows_per_second(bench, ids, through(*store)));
    database.fill(0, seconds(0));
    beside_plain.other.push_back(
        rows_per_second(bench, ids, [&](const Ids& batch) { plain.apply(batch); }));
  }
  Row beside_empty;
  beside_empty.name =
      "the same with " + number(static_cast<double>(sizes.many_rows)) + " rows in the table";
  beside_empty.unit = "rows/s";
  beside_empty.other_name = "the store at an empty table";
  beside_empty.other = beside_plain.ours;
  beside_empty.goal = Goal::at_least(0.5);
  beside_empty.durability = kDurability;
  report.add(std::move(beside_plain));

  // fill() ends with a checkpoint, and what changes first after one is logged by whole pages. That
  // is over once most pages have changed, long before the next checkpoint.
  database.fill(sizes.many_rows, seconds(0));
  const double after_checkpoint = rows_per_second(bench, ids, through(*store));
  run_for(3 * bench.duration, ids, through(*store));
  for (int round = 0; round < bench.rounds; ++round) {
    beside_empty.ours.push_back(rows_per_second(bench, ids, through(*store)));
  }
  report.note("Right after a checkpoint, when PostgreSQL logs whole pages, " +
              number(after_checkpoint) + " rows/s were upserted into the full table.");
  report.add(std::move(beside_empty));
}

// Upserts on a thread of its own, one batch after another, until it goes.
class Writer {
 public:
  Writer(const Database& database, int64_t first_id)
      : store_(database.stores()()),
        ids_(first_id, 100'000),
        done_(std::async(std::launch::async, [this] { run(); })) {}
  ~Writer() { stopping_ = true; }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // The longest batch since it was last asked, in ms. Throws what an upsert has thrown.
  double take_longest_ms() {
    if (done_.wait_for(seconds(0)) == std::future_status::ready) done_.get();
    return static_cast<double>(longest_us_.exchange(0)) / 1000;
  }

 private:
  void run() {
    const auto upsert = through(*store_);
    while (!stopping_) {
      const auto batch = ids_.next();
      const auto began = SteadyClock::now();
      upsert(batch);
      const auto took = SteadyClock::now() - began;
      longest_us_ = std::max(longest_us_.load(),
                             std::chrono::duration_cast<std::chrono::microseconds>(took).count());
    }
  }

  const std::unique_ptr<Store> store_;
  RandomIds ids_;
  std::atomic<int64_t> longest_us_ = 0;
  std::atomic<bool> stopping_ = false;
  std::future<void> done_;  // Last: it uses what is above.
};

// A real server, with nothing to do but to expire.
void expiry_rows(const Bench& bench, const Sizes& sizes, Database& database, Report& report) {
  const auto rows = static_cast<double>(sizes.expired_rows);
  Row row;
  row.name = "expiry of " + number(rows) + " rows at once: longest stall of concurrent upserts, " +
             kBatches;
  row.unit = "ms";
  row.goal = Goal::at_most(250);
  std::vector<double> took;
  std::vector<double> undisturbed;
  for (int round = 0; round < bench.rounds; ++round) {
    database.fill(sizes.expired_rows, std::chrono::hours(1));
    Deployment deployment(bench, "expiry");
    deployment.settings = {{"DATABASE_URL", database.url()}, {"OBJECT_TTL", "30s"}};
    Writer writer(database, 2 * sizes.many_rows);
    std::this_thread::sleep_for(bench.duration);
    undisturbed.push_back(writer.take_longest_ms());

    const auto& serve = deployment.start_serve();
    const auto expired = [&] { return serve.metric("postoffice_objects_expired_total"); };
    wait_until("expiry", [&] { return expired() > 0; });
    const auto began = SteadyClock::now();
    wait_until(
        "expiry of all", [&] { return expired() >= rows; }, seconds(120));
    took.push_back(duration<double>(SteadyClock::now() - began).count());
    row.ours.push_back(writer.take_longest_ms());
  }
  report.add(std::move(row));
  report.note("Expiry of " + number(rows) + " rows took " + number(median(took)) +
              " s; without it the longest upsert of a round took " + number(median(undisturbed)) +
              " ms.");
}

}  // namespace

void store_rows(const Bench& bench, Report& report) {
  const Sizes sizes = bench.quick ? kQuick : Sizes();
  Database database(bench.environment.at("DATABASE_URL"));
  upsert_rows(bench, sizes, database, report);
  expiry_rows(bench, sizes, database, report);
}

}  // namespace postoffice::bench
