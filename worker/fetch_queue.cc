#include "worker/fetch_queue.h"

#include <algorithm>
#include <utility>

namespace postoffice {

void FetchQueue::add(std::span<const Naming> namings) {
  const std::lock_guard lock(mutex_);
  if (is_closed_) return;
  for (const Naming& naming : namings) {
    const auto [found, is_new] = entries_.try_emplace(naming.id);
    if (is_new) fresh_.push_back(naming.id);
    name(found->second, naming.received_at, naming.attempt, {&naming.delivery, 1});
  }
  wake_one();
}

void FetchQueue::name(Entry& entry, UnixTime received_at, int attempt,
                      std::span<const DeliveryHandle> deliveries) {
  const bool is_first = entry.deliveries.empty();
  entry.received_at = is_first ? received_at : std::max(entry.received_at, received_at);
  entry.attempt = is_first ? attempt : std::min(entry.attempt, attempt);
  entry.deliveries.insert(entry.deliveries.end(), deliveries.begin(), deliveries.end());
}

std::optional<Fetch> FetchQueue::take() {
  std::unique_lock lock(mutex_);
  while (!may_hand_out()) {
    if (is_closed_) return std::nullopt;
    Sleeper self;
    sleepers_.push_back(&self);
    self.called.wait(lock, [&] { return self.is_called; });
  }
  auto& line = next_line();
  const int64_t id = line.front();
  line.pop_front();
  Entry& entry = entries_.find(id)->second;
  Fetch fetch{id, entry.received_at, entry.attempt, is_paused_by_outage_,
              std::exchange(entry.deliveries, {})};
  entry.is_under_way = true;
  if (is_paused_by_outage_) is_probe_allowed_ = false;
  wake_one();  // Who was woken wakes the next, as long as there is something to do.
  return fetch;
}

bool FetchQueue::may_hand_out() const {
  if (is_closed_ || is_paused_by_store_ || (fresh_.empty() && given_back_.empty())) return false;
  return !is_paused_by_outage_ || is_probe_allowed_;
}

std::deque<int64_t>& FetchQueue::next_line() {
  if (given_back_.empty()) return fresh_;
  if (!is_paused_by_outage_ || fresh_.empty()) return given_back_;
  is_fresh_next_ = !is_fresh_next_;
  return is_fresh_next_ ? given_back_ : fresh_;
}

void FetchQueue::finished(int64_t id) {
  const std::lock_guard lock(mutex_);
  end_fetch(id);
  const auto found = entries_.find(id);
  if (found->second.deliveries.empty()) {
    entries_.erase(found);
    return;
  }
  fresh_.push_back(id);
  wake_one();
}

bool FetchQueue::give_back(const Fetch& fetch) {
  const std::lock_guard lock(mutex_);
  end_fetch(fetch.id);
  const auto found = entries_.find(fetch.id);
  if (is_closed_) {
    entries_.erase(found);
    return false;
  }
  name(found->second, fetch.received_at, fetch.attempt, fetch.deliveries);
  given_back_.push_back(fetch.id);
  wake_one();
  return true;
}

void FetchQueue::end_fetch(int64_t id) { entries_.find(id)->second.is_under_way = false; }

void FetchQueue::set_paused(Pause pause, bool paused) {
  const std::lock_guard lock(mutex_);
  (pause == Pause::kOutage ? is_paused_by_outage_ : is_paused_by_store_) = paused;
  if (pause == Pause::kOutage) is_probe_allowed_ = false;
  wake_one();
}

void FetchQueue::allow_probe() {
  const std::lock_guard lock(mutex_);
  is_probe_allowed_ = true;
  wake_one();
}

void FetchQueue::wake_one() {
  if (sleepers_.empty() || !may_hand_out()) return;
  Sleeper* sleeper = sleepers_.back();
  sleepers_.pop_back();
  sleeper->is_called = true;
  sleeper->called.notify_one();
}

void FetchQueue::drop_unless(const std::function<bool(DeliveryHandle)>& holds) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, entry] : entries_) {
    std::erase_if(entry.deliveries, [&](DeliveryHandle handle) { return !holds(handle); });
  }
  for (auto* line : {&fresh_, &given_back_}) {
    std::erase_if(*line, [&](int64_t id) { return entries_.find(id)->second.deliveries.empty(); });
  }
  std::erase_if(entries_, [](const auto& pair) {
    return pair.second.deliveries.empty() && !pair.second.is_under_way;
  });
}

std::vector<DeliveryHandle> FetchQueue::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
  std::vector<DeliveryHandle> waiting;
  for (auto& [id, entry] : entries_) {
    waiting.insert(waiting.end(), entry.deliveries.begin(), entry.deliveries.end());
    entry.deliveries.clear();
  }
  fresh_.clear();
  given_back_.clear();
  std::erase_if(entries_, [](const auto& pair) { return !pair.second.is_under_way; });
  for (Sleeper* sleeper : sleepers_) {
    sleeper->is_called = true;
    sleeper->called.notify_one();
  }
  sleepers_.clear();
  return waiting;
}

size_t FetchQueue::waiting() const {
  const std::lock_guard lock(mutex_);
  return fresh_.size() + given_back_.size();
}

}  // namespace postoffice
