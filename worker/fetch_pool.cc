#include "worker/fetch_pool.h"

#include <pthread.h>
#include <sched.h>

#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace postoffice {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackBytes = size_t{2} << 20;
#else
constexpr size_t kStackBytes = size_t{256} << 10;
#endif

// Every result that name_of() can give.
std::vector<FetchResult> all_results() {
  using Kind = FetchResult::Kind;
  std::vector<FetchResult> results;
  for (const Kind kind : {Kind::kAnswered, Kind::kGone, Kind::kUnreachable, Kind::kRetryable,
                          Kind::kUnauthorised, Kind::kRejected, Kind::kAbandoned}) {
    results.push_back({kind, true, {}, {}, {}});
  }
  results.push_back({Kind::kAnswered, false, {}, {}, {}});
  return results;
}

// A thread that asks a service which takes milliseconds need not run the moment its answer comes:
// it lets the one that runs go on, which spares changes between them (sched(7), SCHED_BATCH). What
// the operator has chosen otherwise stays.
void prefer_throughput() {
  if (sched_getscheduler(0) != SCHED_OTHER) return;
  const sched_param no_priority{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &no_priority);
}

size_t index_of(const FetchResult& result) {
  const bool is_offline = result.kind == FetchResult::Kind::kAnswered && !result.online;
  return is_offline ? 7 : static_cast<size_t>(result.kind);
}

}  // namespace

FetchPool::FetchPool(size_t threads, const ObjectClient::Options& options, ServiceAddress& address,
                     FetchQueue& queue, Fetched fetched, Metrics& metrics)
    : size_(threads),
      options_(options),
      address_(address),
      queue_(queue),
      fetched_(std::move(fetched)),
      in_flight_(metrics.gauge("postoffice_fetches_in_flight",
                               "Questions that the object service is to answer now.")),
      seconds_(metrics.histogram("postoffice_fetch_seconds", "Time that one attempt took.",
                                 {0.01, 0.05, 0.1, 0.3, 0.5, 1, 2, 3, 4, 5, 10})) {
  for (const auto& result : all_results()) {
    results_.at(index_of(result)) =
        &metrics.counter("postoffice_fetches_total", "Attempts to fetch an object, by result.",
                         {{"result", name_of(result)}});
  }
}

FetchPool::~FetchPool() { stop(SteadyClock::now()); }

void FetchPool::start() {
  try {
    threads_.reserve(size_);
    while (threads_.size() < size_) {
      auto& client =
          *clients_.emplace_back(std::make_unique<ObjectClient>(options_, address_, stop_.fd()));
      threads_.push_back(running_.start(
          "worker-fetch", [this, &client] { run(client); }, kStackBytes));
    }
  } catch (const std::system_error& error) {
    const size_t had = threads_.size();
    queue_.close();
    threads_.clear();
    throw BadConfig({"worker " + std::to_string(size_) + ": only " + std::to_string(had) +
                     " threads can be had here (" + error.code().message() +
                     "); choose fewer or raise ulimit -u"});
  }
}

bool FetchPool::stop(SteadyClock::time_point deadline) {
  stop_.ring();
  for (const auto& client : clients_) client->interrupt();
  if (!running_.wait_until_none(deadline)) return false;
  threads_.clear();
  return true;
}

void FetchPool::run(ObjectClient& client) {
  prefer_throughput();
  while (auto fetch = queue_.take()) {
    in_flight_.Increment();
    const auto began = SteadyClock::now();
    FetchResult result = client.fetch(fetch->id);
    count(result, SteadyClock::now() - began);
    in_flight_.Decrement();
    fetched_(std::move(*fetch), std::move(result));
  }
}

void FetchPool::count(const FetchResult& result, SteadyClock::duration took) {
  results_.at(index_of(result))->Increment();
  seconds_.Observe(std::chrono::duration<double>(took).count());
}

}  // namespace postoffice
