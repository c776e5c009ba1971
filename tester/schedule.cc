#include "tester/schedule.h"

namespace postoffice::tester {
namespace {

constexpr std::chrono::seconds kMadeUpFor{1};

}  // namespace

Schedule::Schedule(std::optional<std::chrono::nanoseconds> period, std::optional<int64_t> count)
    : period_(period),
      left_(count),
      next_due_(SteadyClock::now() + period.value_or(std::chrono::nanoseconds(0))) {}

bool Schedule::wait_for_turn() {
  std::unique_lock lock(mutex_);
  if (stopping_ || left_ == 0) return false;
  if (left_) --*left_;
  if (!period_) return true;
  const TimePoint due = take_turn();
  return !stopping_changed_.wait_until(lock, due, [this] { return stopping_; });
}

Schedule::TimePoint Schedule::take_turn() {
  const TimePoint now = SteadyClock::now();
  if (const auto late = now - next_due_; late > kMadeUpFor) {
    const auto periods = late / *period_;
    skipped_ += static_cast<uint64_t>(periods);
    next_due_ += periods * *period_;
  }
  const TimePoint due = next_due_;
  next_due_ += *period_;
  return due;
}

void Schedule::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  stopping_changed_.notify_all();
}

bool Schedule::pause(Millis time) {
  std::unique_lock lock(mutex_);
  return !stopping_changed_.wait_for(lock, time, [this] { return stopping_; });
}

uint64_t Schedule::skipped() const {
  const std::lock_guard lock(mutex_);
  return skipped_;
}

}  // namespace postoffice::tester
