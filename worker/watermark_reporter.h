#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/thread.h"
#include "base/time.h"
#include "store/store.h"
#include "worker/database_health.h"
#include "worker/running.h"

namespace postoffice {

// Tells the servers, through the database, which is the oldest callback that this worker holds, so
// that no row expires that it names. One thread, one Store.
class WatermarkReporter {
 public:
  struct Options {
    std::string process;  // Unique to this run.
    Millis interval{1000};
  };

  // `oldest` is called on the reporter's thread.
  WatermarkReporter(const Options& options, StoreFactory factory,
                    std::function<std::optional<UnixTime>()> oldest, DatabaseHealth& health);
  ~WatermarkReporter();

  void start();
  // Sends a last report, of a process that ended in order. False when that was not done by
  // `deadline`: the destructor will wait for it. Idempotent.
  bool stop(SteadyClock::time_point deadline);

 private:
  void run();
  void report(Store& store, bool is_stopped);

  const Options options_;
  const StoreFactory factory_;
  const std::function<std::optional<UnixTime>()> oldest_;
  DatabaseHealth& health_;

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable stopping_;
  bool is_stopped_ = false;

  Running running_;
  Thread thread_;
};

}  // namespace postoffice
