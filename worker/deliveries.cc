#include "worker/deliveries.h"

#include <algorithm>
#include <utility>

namespace postoffice {

Deliveries::Deliveries(ReturnedTimes& returned, Metrics& metrics)
    : returned_(returned),
      held_gauge_(
          metrics.gauge("postoffice_deliveries_held",
                        "Messages taken from the queue and not settled, being worked on.")) {}

std::optional<DeliveryHandle> Deliveries::hold(DeliveryTag tag, SteadyClock::time_point arrived,
                                               std::optional<UnixTime> oldest, size_t parts) {
  const std::lock_guard lock(mutex_);
  if (tag.connection <= lost_connection_) return std::nullopt;
  if (parts == 0) {
    settler_->ack(tag);
    return std::nullopt;
  }
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  Held& held = slots_[slot];
  held.tag = tag;
  held.arrived = arrived;
  held.oldest = oldest;
  held.parts = parts;
  parts_ += parts;
  held_gauge_.Set(static_cast<double>(++count_));
  return DeliveryHandle{slot, held.generation};
}

void Deliveries::done(std::span<const DeliveryHandle> handles) {
  const std::lock_guard lock(mutex_);
  for (const auto handle : handles) {
    Held* held = find(handle);
    if (held == nullptr) continue;
    --parts_;
    if (--held->parts > 0) continue;
    settler_->ack(held->tag);
    release(*held);
  }
}

void Deliveries::requeue(std::span<const DeliveryHandle> handles) {
  const std::lock_guard lock(mutex_);
  for (const auto handle : handles) {
    Held* held = find(handle);
    if (held != nullptr) give_back(*held);
  }
}

bool Deliveries::requeue_older_than(SteadyClock::time_point arrived) {
  bool any = false;
  const std::lock_guard lock(mutex_);
  for (Held& held : slots_) {
    if (held.parts == 0 || held.arrived >= arrived) continue;
    any = true;
    give_back(held);
  }
  return any;
}

void Deliveries::forget_connections(uint64_t connection) {
  const std::lock_guard lock(mutex_);
  lost_connection_ = std::max(lost_connection_, connection);
  for (Held& held : slots_) {
    if (held.parts != 0 && held.tag.connection <= connection) release(held);
  }
}

bool Deliveries::holds(DeliveryHandle handle) const {
  const std::lock_guard lock(mutex_);
  return find(handle) != nullptr;
}

bool Deliveries::holds_any(std::span<const DeliveryHandle> handles) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(handles,
                             [&](DeliveryHandle handle) { return find(handle) != nullptr; });
}

std::optional<UnixTime> Deliveries::oldest() const {
  std::optional<UnixTime> oldest;
  const std::lock_guard lock(mutex_);
  for (const Held& held : slots_) {
    if (held.parts != 0) oldest = earlier(oldest, held.oldest);
  }
  return oldest;
}

size_t Deliveries::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

size_t Deliveries::parts() const {
  const std::lock_guard lock(mutex_);
  return parts_;
}

bool Deliveries::wait_until_none(SteadyClock::time_point deadline) const {
  std::unique_lock lock(mutex_);
  return none_left_.wait_until(lock, deadline, [&] { return count_ == 0; });
}

const Deliveries::Held* Deliveries::find(DeliveryHandle handle) const {
  if (handle.slot >= slots_.size()) return nullptr;
  const Held& held = slots_[handle.slot];
  return held.parts != 0 && held.generation == handle.generation ? &held : nullptr;
}

Deliveries::Held* Deliveries::find(DeliveryHandle handle) {
  return const_cast<Held*>(std::as_const(*this).find(handle));
}

void Deliveries::give_back(Held& held) {
  returned_.returned(held.oldest);
  settler_->requeue(held.tag);
  release(held);
}

void Deliveries::release(Held& held) {
  parts_ -= held.parts;
  held.parts = 0;
  ++held.generation;
  free_.push_back(static_cast<uint32_t>(&held - slots_.data()));
  held_gauge_.Set(static_cast<double>(--count_));
  if (count_ == 0) none_left_.notify_all();
}

}  // namespace postoffice
