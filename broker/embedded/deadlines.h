#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/time.h"
#include "broker/embedded/queue.h"

namespace postoffice::embedded {

// When which queue wants to be called: one time each, the earliest it asked for.
class Deadlines {
 public:
  void add(Queue& queue, SteadyClock::time_point when) {
    if (queue.timer && *queue.timer <= when) return;
    queue.timer = when;  // An entry for a later time finds it changed, and is ignored.
    queues_.emplace(when, queue.weak_from_this());
    if (queues_.size() >= sweep_at_) sweep();
  }

  std::optional<SteadyClock::time_point> next() const {
    if (queues_.empty()) return std::nullopt;
    return queues_.begin()->first;
  }

  std::vector<std::shared_ptr<Queue>> take_due(SteadyClock::time_point now) {
    std::vector<std::shared_ptr<Queue>> due;
    while (!queues_.empty() && queues_.begin()->first <= now) {
      auto entry = queues_.extract(queues_.begin());
      auto queue = entry.mapped().lock();
      if (!queue || queue->timer != entry.key()) continue;
      queue->timer.reset();
      due.push_back(std::move(queue));
    }
    return due;
  }

  size_t size() const { return queues_.size(); }

 private:
  static constexpr size_t kLeastToSweep = 64;

  // Entries of queues that are gone, or wait for an earlier time, would stay until they are due.
  void sweep() {
    std::erase_if(queues_, [](const auto& entry) {
      const auto queue = entry.second.lock();
      return !queue || queue->timer != entry.first;
    });
    sweep_at_ = std::max(kLeastToSweep, 2 * queues_.size());
  }

  std::multimap<SteadyClock::time_point, std::weak_ptr<Queue>> queues_;
  size_t sweep_at_ = kLeastToSweep;
};

}  // namespace postoffice::embedded
