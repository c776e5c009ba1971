#include "server/expiry.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace postoffice {
namespace {

constexpr const char* kObjectsHelp = "Rows of the table, counted now and then.";
// Counting may take at most this share of the time.
constexpr int kCountShare = 20;

}  // namespace

Expiry::Expiry(Options options, const StoreFactory& stores, Intake& intake, const Outbox& outbox,
               ReadQueue read_queue, Metrics& metrics)
    : options_(std::move(options)),
      intake_(intake),
      outbox_(outbox),
      read_queue_(std::move(read_queue)),
      store_(stores()),
      expired_(metrics.counter("postoffice_objects_expired_total",
                               "Objects deleted by this server's expiry.")),
      online_(metrics.gauge("postoffice_objects", kObjectsHelp, {{"online", "true"}})),
      offline_(metrics.gauge("postoffice_objects", kObjectsHelp, {{"online", "false"}})),
      lag_seconds_(
          metrics.gauge("postoffice_watermark_lag_seconds",
                        "How far expiry is behind the clock because callbacks are unprocessed.")),
      outbox_callbacks_(metrics.gauge("postoffice_outbox_callbacks",
                                      "Callbacks that wait on disk for the broker.")),
      outbox_bytes_(metrics.gauge("postoffice_outbox_bytes", "What they take on disk.")),
      outbox_oldest_seconds_(metrics.gauge("postoffice_outbox_oldest_seconds",
                                           "Since the oldest of them was received.")) {
  measure_outbox();
}

Expiry::~Expiry() { stop(); }

void Expiry::start() {
  thread_ = Thread("expiry", [this] { run(); });
}

void Expiry::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

std::string Expiry::database_status() const {
  const std::lock_guard lock(mutex_);
  return database_status_;
}

void Expiry::set_database(bool ok, const std::string& status) {
  const std::lock_guard lock(mutex_);
  database_ok_ = ok;
  database_status_ = status;
}

// False when it is time to stop.
bool Expiry::wait(Millis time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

void Expiry::run() {
  Millis pause{0};
  while (wait(pause)) {
    measure_outbox();
    try {
      tick();
      const std::string description = store_->description();
      log_.connected(description);
      set_database(true, description);
      backoff_.reset();
      pause = options_.interval;
    } catch (const std::runtime_error& error) {
      log_.lost(error.what());
      set_database(false, error.what());
      pause = std::max(options_.interval, backoff_.next());
    }
  }
  try {
    if (database_ok_) report(/*stopped=*/true);
  } catch (const std::runtime_error& error) {
    spdlog::warn("expiry: no last report: {}", error.what());
  }
}

void Expiry::report(bool stopped) {
  store_->report({.process = options_.process_id,
                  .role = WatermarkReport::Role::kServer,
                  .oldest = intake_.oldest_unforwarded(),
                  .stopped = stopped,
                  .reported_at = {}});
}

// What an earlier run forwarded may still be in the queue, and only its last report says so: the
// first report of this run, which replaces it, must allow for that.
void Expiry::take_over() {
  for (const auto& earlier : store_->reports()) {
    if (earlier.process != options_.process_id) continue;
    const bool held_nothing = earlier.stopped && !earlier.oldest;
    if (!held_nothing) intake_.forwarded_before(held_since(earlier));
  }
  taken_over_ = true;
}

void Expiry::tick() {
  if (!taken_over_) take_over();
  report(/*stopped=*/false);
  const auto now = store_->now();
  const auto decision = watermark_.observe({.now = now,
                                            .steady_now = SteadyClock::now(),
                                            .own_process = options_.process_id,
                                            .own_oldest = intake_.oldest_unforwarded(),
                                            .reports = store_->reports(),
                                            .queue = read_queue_()});
  for (const auto& warning : decision.warnings) spdlog::warn("expiry: {}", warning);
  for (const auto& process : decision.forget) store_->forget(process);
  if (decision.drained_again) intake_.forwarded_settled();
  if (!started_at_) started_at_ = now;
  const auto known_until = decision.watermark.value_or(*started_at_);
  lag_seconds_.Set(std::chrono::duration<double>(now - known_until).count());
  if (decision.watermark) expire(decision.watermark);
  count_objects();
}

void Expiry::expire(std::optional<UnixTime> watermark) {
  while (true) {
    const auto deleted = store_->expire(watermark, options_.object_ttl, options_.batch_rows);
    if (!deleted) return;  // Another server is at it.
    expired_.Increment(static_cast<double>(*deleted));
    if (*deleted < options_.batch_rows || !wait(options_.between_batches)) return;
  }
}

void Expiry::measure_outbox() {
  const auto depth = outbox_.depth();
  outbox_callbacks_.Set(static_cast<double>(depth.callbacks));
  outbox_bytes_.Set(static_cast<double>(depth.bytes));
  const auto oldest = depth.oldest_received_at.value_or(unix_now());
  outbox_oldest_seconds_.Set(std::chrono::duration<double>(unix_now() - oldest).count());
}

void Expiry::count_objects() {
  const auto began = SteadyClock::now();
  if (began < next_count_) return;
  try {
    const auto counts = store_->counts();
    online_.Set(static_cast<double>(counts.online));
    offline_.Set(static_cast<double>(counts.offline));
  } catch (const std::runtime_error& error) {
    // It may take longer than the database is given for an answer; what matters has been done.
    spdlog::warn("expiry: the objects were not counted: {}", error.what());
  }
  const auto ended = SteadyClock::now();
  next_count_ = ended + (ended - began) * kCountShare;
}

}  // namespace postoffice
