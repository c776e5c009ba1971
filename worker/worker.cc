#include "worker/worker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <utility>

#include "base/thread.h"
#include "base/url.h"
#include "worker/backlog.h"
#include "worker/database_health.h"
#include "worker/deliveries.h"
#include "worker/fetch_pool.h"
#include "worker/fetch_queue.h"
#include "worker/outcomes.h"
#include "worker/service_address.h"
#include "worker/watermark_reporter.h"

namespace postoffice {
namespace {

constexpr size_t kLeastPrefetch = 1000;
constexpr size_t kLeastParts = 200'000;
constexpr size_t kPartsPerThread = 20;
constexpr size_t kRetryShare = 4;  // One in four messages may be a retry that waits for its time.
constexpr uint64_t kAllConnections = std::numeric_limits<uint64_t>::max();

Worker::Options with_defaults(Worker::Options options) {
  if (options.prefetch == 0) {
    options.prefetch = static_cast<uint16_t>(std::clamp<size_t>(
        2 * options.fetch_threads, kLeastPrefetch, std::numeric_limits<uint16_t>::max()));
  }
  if (options.most_parts == 0) {
    options.most_parts = std::max(kLeastParts, kPartsPerThread * options.fetch_threads);
  }
  return options;
}

}  // namespace

class Worker::Core {
 public:
  Core(const Options& options, Publisher& publisher, const StoreFactory& factory, Metrics& metrics)
      : options_(with_defaults(options)),
        publisher_(publisher),
        waiting_gauge_(metrics.gauge("postoffice_ids_waiting", "Objects that wait to be fetched.")),
        address_(options_.objects_url),
        returned_(options_.returned),
        deliveries_(returned_, metrics),
        backlog_(options_.most_parked_bytes, returned_),
        publications_(options_.publish, publisher, deliveries_, metrics),
        admission_({.most_parts = options_.most_parts,
                    .split_after_failures = options_.split_after_failures,
                    .most_waiting = options_.prefetch / kRetryShare},
                   backlog_, deliveries_, queue_, publications_),
        outage_(
            options_.outage, "object service " + mask_passwords(options_.objects_url),
            [this](bool down) { queue_.set_paused(FetchQueue::Pause::kOutage, down); }, metrics),
        outcomes_(options_.retry, queue_, outage_, publications_, deliveries_),
        writer_(options_.store, factory,
                {[this](auto findings) { outcomes_.stored(std::move(findings)); },
                 [this](auto finding, auto& why) { outcomes_.refused(std::move(finding), why); },
                 [this](bool full) { queue_.set_paused(FetchQueue::Pause::kStore, full); }},
                health_, metrics),
        pool_(
            options_.fetch_threads, options_.fetch, address_, queue_,
            [this](Fetch fetch, const FetchResult& result) {
              outcomes_.fetched(std::move(fetch), result);
            },
            metrics),
        reporter_(
            {options_.process_id, options_.report_interval}, factory,
            [this] { return oldest_unprocessed(); }, health_) {
    outcomes_.store_with(writer_);
  }

  uint16_t prefetch() const { return options_.prefetch; }

  void delivered(Delivery delivery) {
    if (!backlog_.park(std::move(delivery))) return;
    {
      const std::lock_guard lock(mutex_);
      has_arrivals_ = true;
    }
    changed_.notify_one();
  }

  void lost(uint64_t connection) {
    returned_.returned(earlier(backlog_.oldest(), deliveries_.oldest()));
    backlog_.forget_connections(connection);
    deliveries_.forget_connections(connection);
    drop_what_nobody_waits_for();
  }

  void start(Settler& settler, std::function<bool()> connected) {
    deliveries_.settle_with(settler);
    backlog_.settle_with(settler);
    {
      const std::lock_guard lock(mutex_);
      connected_ = std::move(connected);
    }
    is_started_ = true;  // Also when not every thread can be had: stop() ends those that were.
    pool_.start();       // First, because it is the likeliest to throw.
    publications_.start();
    writer_.start();
    reporter_.start();
    clock_ = Thread("worker-clock", [this] { run(); });
  }

  bool stop(SteadyClock::time_point deadline) {
    const std::lock_guard only_once(stop_mutex_);
    if (!is_started_) return true;
    stop_clock();
    give_back_what_was_not_begun();
    // A part of the time is for ending what could not end by itself.
    const auto left = std::max(deadline - SteadyClock::now(), SteadyClock::duration(0));
    const auto reserve = std::min<SteadyClock::duration>(Millis(1000), left / 4);
    if (!deliveries_.wait_until_none(deadline - reserve)) {
      spdlog::warn("worker: {} messages are not done; they go back to the queue",
                   deliveries_.count());
    }
    returned_.returned(deliveries_.oldest());
    // One that hangs, such as a thread in getaddrinfo(3), leaves those after it no time.
    const bool fetched = pool_.stop(deadline);
    const bool stored = writer_.stop(deadline);
    publications_.stop();
    const bool reported = reporter_.stop(deadline);
    deliveries_.forget_connections(kAllConnections);
    const std::lock_guard lock(mutex_);
    connected_ = nullptr;
    return fetched && stored && reported;
  }

  std::vector<Readiness> readiness(const std::string& broker_status) {
    const bool is_connected = connected();
    const bool can_publish = publisher_.available();
    std::string broker = broker_status;
    if (is_connected && !can_publish) broker += " (delivers, but takes no messages)";
    return {{"broker", is_connected && can_publish, true, broker},
            {"database", health_.ok(), true, health_.status()},
            {"object service", !outage_.down(), false, outage_.status()}};
  }

 private:
  void run() {
    auto next_overdue_check = SteadyClock::now();
    for (;;) {
      admission_.admit(unix_now());
      const auto now = SteadyClock::now();
      if (outage_.probe_due(now)) queue_.allow_probe();
      if (now >= next_overdue_check) {
        give_back_what_takes_too_long(now);
        next_overdue_check = now + std::min(Millis(1000), options_.longest_hold / 10);
      }
      waiting_gauge_.Set(static_cast<double>(queue_.waiting()));
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, options_.tick, [&] { return is_stopping_ || has_arrivals_; });
      if (is_stopping_) return;
      has_arrivals_ = false;
    }
  }

  void stop_clock() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_one();
    clock_.join();
  }

  void give_back_what_takes_too_long(SteadyClock::time_point now) {
    const auto arrived = now - options_.longest_hold;
    backlog_.requeue_older_than(arrived);
    if (deliveries_.requeue_older_than(arrived)) drop_what_nobody_waits_for();
  }

  void give_back_what_was_not_begun() {
    returned_.keep_all();
    backlog_.close();
    deliveries_.requeue(queue_.close());
    deliveries_.requeue(admission_.waiting());
  }

  void drop_what_nobody_waits_for() {
    queue_.drop_unless([this](DeliveryHandle handle) { return deliveries_.holds(handle); });
  }

  bool connected() {
    const std::lock_guard lock(mutex_);
    return connected_ && connected_();
  }

  // A delivery on its way from one to the next is seen in at least one of them in this order.
  std::optional<UnixTime> oldest_unprocessed() {
    const auto parked = backlog_.oldest();
    const auto held = deliveries_.oldest();
    return earlier(earlier(parked, held), returned_.oldest(connected()));
  }

  const Options options_;
  Publisher& publisher_;
  prometheus::Gauge& waiting_gauge_;

  // Each knows only those before it.
  ServiceAddress address_;
  DatabaseHealth health_;
  ReturnedTimes returned_;
  Deliveries deliveries_;
  Backlog backlog_;
  FetchQueue queue_;
  Publications publications_;
  Admission admission_;  // Used by the clock's thread.
  Outage outage_;
  Outcomes outcomes_;
  StoreWriter writer_;
  FetchPool pool_;
  WatermarkReporter reporter_;

  std::mutex stop_mutex_;
  bool is_started_ = false;

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable changed_;
  std::function<bool()> connected_;
  bool has_arrivals_ = false;
  bool is_stopping_ = false;

  Thread clock_;
};

Worker::Worker(const Options& options, Publisher& publisher, const StoreFactory& factory,
               Metrics& metrics)
    : core_(std::make_unique<Core>(options, publisher, factory, metrics)) {}

Worker::~Worker() { stop(SteadyClock::now()); }

Consumer::Handler Worker::handler() {
  return {[core = core_.get()](Delivery delivery) { core->delivered(std::move(delivery)); },
          [core = core_.get()](uint64_t connection) { core->lost(connection); }};
}

uint16_t Worker::prefetch() const { return core_->prefetch(); }

void Worker::start(Settler& settler, std::function<bool()> connected) {
  core_->start(settler, std::move(connected));
}

bool Worker::stop(SteadyClock::time_point deadline) { return core_->stop(deadline); }

std::vector<Readiness> Worker::readiness(const std::string& broker_status) const {
  return core_->readiness(broker_status);
}

}  // namespace postoffice
