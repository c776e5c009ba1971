#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/backoff.h"
#include "base/connection_log.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/time.h"
#include "broker/intake.h"
#include "broker/outbox.h"
#include "broker/queue_monitor.h"
#include "server/watermark.h"
#include "store/store.h"

namespace postoffice {

// Deletes, twice a second, the objects that no callback has named for the TTL, in event time (see
// watermark.h), and reports what this server holds in its outbox, to the database and as gauges.
// With nothing unprocessed a row goes at most 1.7 s after its TTL: workers report every second.
// One thread with one Store. Thread-safe.
class Expiry {
 public:
  struct Options {
    Millis object_ttl{30'000};
    // For the reports. Kept over restarts, like the outbox: what a server left in its outbox, or
    // forwarded shortly before it ended, counts until a report under the same name says otherwise,
    // or for 10 minutes.
    std::string process_id;
    Millis interval{500};
    size_t batch_rows = 5000;
    Millis between_batches{5};  // For upserts that wait.
  };

  // The newest reading of the queue of callbacks; nothing: unknown. Must not block.
  using ReadQueue = std::function<std::optional<QueueReading>()>;

  // Everything passed in outlives this.
  Expiry(Options options, const StoreFactory& stores, Intake& intake, const Outbox& outbox,
         ReadQueue read_queue, Metrics& metrics);
  ~Expiry();

  void start();
  // Leaves a last report. Idempotent; bounded by the deadlines of the Store.
  void stop();

  // Whether the database answered last time, and how it is, for /readyz.
  bool database_ok() const { return database_ok_; }
  std::string database_status() const;

 private:
  void run();
  void tick();
  void take_over();
  void report(bool stopped);
  void expire(std::optional<UnixTime> watermark);
  void count_objects();
  void measure_outbox();
  bool wait(Millis time);
  void set_database(bool ok, const std::string& status);

  const Options options_;
  Intake& intake_;
  const Outbox& outbox_;
  const ReadQueue read_queue_;
  const std::unique_ptr<Store> store_;
  Watermark watermark_;
  ConnectionLog log_{"database"};
  Backoff backoff_{Millis(200), Millis(5000)};
  SteadyClock::time_point next_count_;
  std::optional<UnixTime> started_at_;  // By the database's clock.
  bool taken_over_ = false;

  prometheus::Counter& expired_;
  prometheus::Gauge& online_;
  prometheus::Gauge& offline_;
  prometheus::Gauge& lag_seconds_;
  prometheus::Gauge& outbox_callbacks_;
  prometheus::Gauge& outbox_bytes_;
  prometheus::Gauge& outbox_oldest_seconds_;

  std::atomic<bool> database_ok_ = false;
  mutable std::mutex mutex_;  // Guards what follows.
  std::condition_variable changed_;
  bool stopping_ = false;
  std::string database_status_ = "not connected yet";

  Thread thread_;
};

}  // namespace postoffice
