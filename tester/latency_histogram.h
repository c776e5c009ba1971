#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace postoffice::tester {

// Counts latencies in buckets 1/64 as wide as their value, so that memory does not grow with their
// number (at most 30 KB). Not thread-safe.
class LatencyHistogram {
 public:
  void record(std::chrono::microseconds latency);

  // The least latency that `share` (0 to 1) of all do not exceed, rounded up by less than 2 %; 0
  // when there are none.
  std::chrono::microseconds quantile(double share) const;
  std::chrono::microseconds max() const { return max_; }

 private:
  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  std::chrono::microseconds max_{};
};

}  // namespace postoffice::tester
