#include "worker/watermark_reporter.h"

#include <utility>

#include "base/error.h"

namespace postoffice {

WatermarkReporter::WatermarkReporter(const Options& options, StoreFactory factory,
                                     std::function<std::optional<UnixTime>()> oldest,
                                     DatabaseHealth& health)
    : options_(options),
      factory_(std::move(factory)),
      oldest_(std::move(oldest)),
      health_(health) {}

WatermarkReporter::~WatermarkReporter() { stop(SteadyClock::now()); }

void WatermarkReporter::start() {
  thread_ = running_.start("worker-report", [this] { run(); });
}

bool WatermarkReporter::stop(SteadyClock::time_point deadline) {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  stopping_.notify_all();
  if (!running_.wait_until_none(deadline)) return false;
  thread_.join();
  return true;
}

void WatermarkReporter::run() {
  const auto store = factory_();
  auto next = SteadyClock::now();
  std::unique_lock lock(mutex_);
  while (!stopping_.wait_until(lock, next, [&] { return is_stopped_; })) {
    lock.unlock();
    report(*store, false);
    lock.lock();
    next = SteadyClock::now() + options_.interval;
  }
  lock.unlock();
  report(*store, true);
}

void WatermarkReporter::report(Store& store, bool is_stopped) {
  WatermarkReport report;
  report.process = options_.process;
  report.role = WatermarkReport::Role::kWorker;
  report.oldest = oldest_();
  report.stopped = is_stopped;
  try {
    store.report(report);
    health_.answered(DatabaseHealth::User::kReporter, store.description());
  } catch (const Transient& error) {
    health_.failed(DatabaseHealth::User::kReporter, error.what());
  } catch (const Permanent& error) {
    health_.failed(DatabaseHealth::User::kReporter, error.what());
  }
}

}  // namespace postoffice
