#pragma once

#include <mutex>
#include <optional>
#include <random>

#include "base/time.h"
#include "broker/topology.h"

namespace postoffice {

// How often and when an object that failed is tried again. Thread-safe.
class RetryPolicy {
 public:
  struct Options {
    int attempts = 5;  // In all.
    Millis least{500};
    Millis most{30'000};
  };

  explicit RetryPolicy(const Options& options) : options_(options) {}

  bool is_last(int attempts_made) const { return attempts_made >= options_.attempts; }

  // The delay after the `attempts_made`-th attempt, 1 and up: uniform between `least` and a ceiling
  // that grows fourfold with each attempt up to `most` (2, 8, 30, 30 s), so that an object is given
  // up after half a minute rather than after a hiccup of seconds. Never less than `retry_after`.
  Millis delay(int attempts_made, std::optional<Millis> retry_after);

  // The retry queue with the longest delay that is not longer than `wanted`, or the shortest.
  static const topology::RetryQueue& queue_for(Millis wanted);

 private:
  const Options options_;
  std::mutex mutex_;  // Guards random_.
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace postoffice
