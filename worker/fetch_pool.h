#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "base/metrics.h"
#include "base/thread.h"
#include "base/wakeup.h"
#include "worker/fetch_queue.h"
#include "worker/fetch_result.h"
#include "worker/object_client.h"
#include "worker/running.h"
#include "worker/service_address.h"

namespace postoffice {

// N threads, each with one connection to the object service, that fetch what the queue hands out.
// Measured on 2 cores, see ARCHITECTURE.md: ten thousand of them hold ten thousand fetches.
class FetchPool {
 public:
  // On the fetch thread; calls FetchQueue::finished() or give_back().
  using Fetched = std::function<void(Fetch, FetchResult)>;

  // `queue`, `address` and `metrics` outlive this.
  FetchPool(size_t threads, const ObjectClient::Options& options, ServiceAddress& address,
            FetchQueue& queue, Fetched fetched, Metrics& metrics);
  ~FetchPool();

  // Throws BadConfig when so many threads cannot be had; none is left then.
  void start();
  // The queue was closed before. Ends the fetches under way, as kAbandoned, and the threads. False
  // when some have not ended by `deadline`: the destructor will wait for them. Idempotent.
  bool stop(SteadyClock::time_point deadline);

 private:
  void run(ObjectClient& client);
  void count(const FetchResult& result, SteadyClock::duration took);

  const size_t size_;
  const ObjectClient::Options options_;
  ServiceAddress& address_;
  FetchQueue& queue_;
  const Fetched fetched_;
  prometheus::Gauge& in_flight_;
  prometheus::Histogram& seconds_;
  std::array<prometheus::Counter*, 8> results_{};

  Wakeup stop_;
  Running running_;
  std::vector<std::unique_ptr<ObjectClient>> clients_;  // One a thread.
  std::vector<Thread> threads_;
};

}  // namespace postoffice
