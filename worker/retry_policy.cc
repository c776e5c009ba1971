#include "worker/retry_policy.h"

#include <algorithm>

namespace postoffice {

Millis RetryPolicy::delay(int attempts_made, std::optional<Millis> retry_after) {
  Millis ceiling = options_.least;
  for (int i = 0; i < attempts_made && ceiling < options_.most; ++i) ceiling *= 4;
  ceiling = std::min(ceiling, options_.most);
  const std::lock_guard lock(mutex_);
  std::uniform_int_distribution<int64_t> jitter(options_.least.count(),
                                                std::max(options_.least, ceiling).count());
  return std::max(Millis(jitter(random_)), retry_after.value_or(Millis(0)));
}

const topology::RetryQueue& RetryPolicy::queue_for(Millis wanted) {
  const auto* best = &topology::kCallbacksRetry.front();
  for (const auto& queue : topology::kCallbacksRetry) {
    if (queue.delay <= wanted && queue.delay > best->delay) best = &queue;
  }
  return *best;
}

}  // namespace postoffice
