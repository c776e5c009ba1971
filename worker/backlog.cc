#include "worker/backlog.h"

#include <utility>

#include "worker/receive_time.h"

namespace postoffice {

size_t Backlog::cost_of(const Parked& parked) {
  return sizeof(Parked) + parked.delivery.body.capacity();
}

bool Backlog::park(Delivery delivery, SteadyClock::time_point now) {
  const auto oldest = oldest_callback_in(delivery.body);
  const std::lock_guard lock(mutex_);
  if (is_closed_) {
    returned_.returned(oldest);
    settler_->requeue(delivery.tag);
    return false;
  }
  parked_.push_back({std::move(delivery), now, oldest});
  bytes_ += cost_of(parked_.back());
  if (is_reading_ && bytes_ > most_bytes_) {
    is_reading_ = false;
    settler_->set_reading(false);
  }
  return true;
}

std::optional<Backlog::Parked> Backlog::take() {
  const std::lock_guard lock(mutex_);
  if (parked_.empty()) return std::nullopt;
  const size_t cost = cost_of(parked_.front());
  Parked first = std::move(parked_.front());
  parked_.pop_front();
  being_taken_over_ = first.oldest;
  forget_bytes(cost);
  return first;
}

void Backlog::taken_over() {
  const std::lock_guard lock(mutex_);
  being_taken_over_.reset();
}

void Backlog::requeue_older_than(SteadyClock::time_point arrived) {
  const std::lock_guard lock(mutex_);
  while (!parked_.empty() && parked_.front().arrived < arrived) {
    const Parked& first = parked_.front();
    returned_.returned(first.oldest);
    settler_->requeue(first.delivery.tag);
    const size_t cost = cost_of(first);
    parked_.pop_front();
    forget_bytes(cost);
  }
}

void Backlog::forget_connections(uint64_t connection) {
  const std::lock_guard lock(mutex_);
  size_t cost = 0;
  std::erase_if(parked_, [&](const Parked& parked) {
    if (parked.delivery.tag.connection > connection) return false;
    cost += cost_of(parked);
    return true;
  });
  forget_bytes(cost);
}

void Backlog::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  for (const Parked& parked : parked_) {
    returned_.returned(parked.oldest);
    settler_->requeue(parked.delivery.tag);
  }
  parked_.clear();
  forget_bytes(bytes_);
}

void Backlog::forget_bytes(size_t bytes) {
  bytes_ -= bytes;
  if (is_reading_ || bytes_ > most_bytes_ / 2) return;
  is_reading_ = true;
  settler_->set_reading(true);
}

std::optional<UnixTime> Backlog::oldest() const {
  const std::lock_guard lock(mutex_);
  auto oldest = being_taken_over_;
  for (const Parked& parked : parked_) oldest = earlier(oldest, parked.oldest);
  return oldest;
}

}  // namespace postoffice
