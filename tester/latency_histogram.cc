#include "tester/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace postoffice::tester {
namespace {

// Values below kExact have a bucket each; above, every power of two has kExact / 2 buckets.
constexpr size_t kExactBits = 7;
constexpr uint64_t kExact = uint64_t{1} << kExactBits;

size_t bucket_of(uint64_t value) {
  if (value < kExact) return value;
  const auto shift = static_cast<size_t>(std::bit_width(value)) - kExactBits;
  return shift * (kExact / 2) + (value >> shift);
}

uint64_t largest_in(size_t bucket) {
  if (bucket < kExact) return bucket;
  const uint64_t shift = bucket / (kExact / 2) - 1;
  const uint64_t leading = bucket % (kExact / 2) + kExact / 2;
  return ((leading + 1) << shift) - 1;
}

}  // namespace

void LatencyHistogram::record(std::chrono::microseconds latency) {
  const auto value = static_cast<uint64_t>(std::max<int64_t>(latency.count(), 0));
  const size_t bucket = bucket_of(value);
  if (buckets_.size() <= bucket) buckets_.resize(bucket + 1);
  ++buckets_[bucket];
  ++count_;
  max_ = std::max(max_, latency);
}

std::chrono::microseconds LatencyHistogram::quantile(double share) const {
  const auto wanted =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= wanted) {
      return std::min(max_, std::chrono::microseconds(largest_in(bucket)));
    }
  }
  return max_;
}

}  // namespace postoffice::tester
