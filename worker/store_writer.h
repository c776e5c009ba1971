#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/time.h"
#include "store/store.h"
#include "worker/database_health.h"
#include "worker/deliveries.h"
#include "worker/running.h"

namespace postoffice {

// Why and how often an object failed, and what is to become of it once the database knows that it
// was named.
struct Failure {
  int attempts = 0;  // So far.
  bool is_final = false;
  UnixTime not_before;
  std::string reason;  // "object 7: answer 500".
};

// What a fetch found out, for all deliveries that waited for it.
struct Finding {
  ObjectUpdate update;
  std::vector<DeliveryHandle> deliveries;
  std::unique_ptr<Failure> failure;  // Nothing: it succeeded.
};

// Commits findings in batches: whatever comes while one batch is written is in the next one, and a
// batch that is not full begins no sooner than `gather` after the one before. While the
// database is away, what could not be written is tried again with backoff, together with what came
// meanwhile. Where the database refuses a batch for its data, halves of it are tried, down to the
// one at fault. One thread, one Store. put() is thread-safe.
class StoreWriter {
 public:
  struct Options {
    size_t batch_rows = 1000;
    // A commit costs much more than a row in it. Short beside what a fetch takes.
    Millis gather{20};
    size_t most_waiting = 50'000;  // Above it, `full` is called.
    Millis backoff_least{100};
    Millis backoff_most{5000};
  };
  // Called on the writer's thread, except `full`.
  struct Handler {
    std::function<void(std::vector<Finding>)> stored;  // Committed.
    std::function<void(Finding, const std::string& why)> refused;
    // As much waits as may: true; half of that is left: false. Nothing is refused meanwhile: who
    // calls put() has to stop by himself. Called under a lock, by whoever calls put(), too.
    std::function<void(bool)> full;
  };

  StoreWriter(const Options& options, StoreFactory factory, Handler handler, DatabaseHealth& health,
              Metrics& metrics);
  ~StoreWriter();

  void start();
  // Writes nothing more when the batch under way has ended. False when that is not so at
  // `deadline`: the destructor will wait for it. Idempotent.
  bool stop(SteadyClock::time_point deadline);

  void put(Finding finding);

 private:
  using Batch = std::vector<Finding>;

  void run();
  bool top_up(Batch& batch);
  bool write(Store& store, Batch batch, std::deque<Batch>& rest);
  bool pause();
  void stored(Batch batch);

  const Options options_;
  const StoreFactory factory_;
  const Handler handler_;
  DatabaseHealth& health_;
  prometheus::Counter& stored_;
  prometheus::Histogram& batch_rows_;
  prometheus::Gauge& waiting_gauge_;

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable changed_;
  std::deque<Finding> waiting_;
  bool is_full_ = false;
  bool is_stopped_ = false;

  SteadyClock::time_point gathers_until_{};  // Of the thread.
  Backoff backoff_;                          // Likewise.
  Running running_;
  Thread thread_;
};

}  // namespace postoffice
