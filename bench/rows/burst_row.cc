#include "bench/rows/burst_row.h"

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/time.h"
#include "bench/load/callbacks.h"
#include "bench/processes/deployment.h"

namespace postoffice::bench {
namespace {

constexpr size_t kObjects = 100;
constexpr size_t kTimes = 2;  // In each callback.

struct Sizes {
  size_t callbacks = 1000;
  Millis least_latency{300};
  Millis most_latency{4300};
};
constexpr Sizes kQuick = {100, Millis(30), Millis(430)};

// Whether all rows are there, and none was seen last before `time`. Texts of RFC 3339 compare as
// their times do.
bool all_seen_since(const Service& serve, UnixTime time) {
  constexpr std::string_view kMember = R"("last_seen":")";
  const std::string least = format_rfc3339(time);
  const std::string page = serve.get("/objects?limit=" + std::to_string(kObjects));
  size_t seen = 0;
  for (size_t at = page.find(kMember); at != std::string::npos; at = page.find(kMember, at + 1)) {
    if (page.compare(at + kMember.size(), least.size(), least) >= 0) ++seen;
  }
  return seen == kObjects;
}

// Every callback names every object, so that the last one is what all rows have to show.
double seconds_to_store(const Bench& bench, const Sizes& sizes) {
  const ObjectService objects(bench, sizes.least_latency, sizes.most_latency);
  Deployment deployment(bench, "burst");
  deployment.settings["OBJECTS_URL"] = objects.url();
  const auto& serve = deployment.start_serve();
  deployment.start_worker(200);
  std::atomic<int64_t> last = 0;
  post_callbacks(serve.port(), sizes.callbacks, 16, [&](size_t index) {
    if (index + 1 == sizes.callbacks) last = to_unix_millis(unix_now());
    return callback_body(0, kObjects, kTimes);
  });
  const auto began = SteadyClock::now();
  wait_until("all rows stored", [&] { return all_seen_since(serve, from_unix_millis(last)); });
  return std::chrono::duration<double>(SteadyClock::now() - began).count();
}

}  // namespace

void burst_row(const Bench& bench, Report& report) {
  const Sizes sizes = bench.quick ? kQuick : Sizes();
  Row row;
  row.name = "burst, " + std::to_string(sizes.callbacks) +
             " callbacks of 200 ids of 100, worker 200: last 202 to all stored, embedded broker "
             "and SQLite";
  row.unit = "s";
  row.other_name = "slowest answer";
  row.goal = Goal::at_most(2);
  for (int round = 0; round < bench.rounds; ++round) {
    row.ours.push_back(seconds_to_store(bench, sizes));
    row.other.push_back(std::chrono::duration<double>(sizes.most_latency).count());
  }
  report.add(std::move(row));
}

}  // namespace postoffice::bench
