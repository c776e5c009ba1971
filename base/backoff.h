#pragma once

#include <random>

#include "base/time.h"

namespace postoffice {

// Exponential backoff with full jitter: the n-th delay is uniform between zero and least·2ⁿ, at
// most `most`. Full jitter keeps many processes that lost the same server from coming back at the
// same moment. Not thread-safe.
class Backoff {
 public:
  Backoff(Millis least, Millis most);

  Millis next();
  void reset() { ceiling_ = least_; }

 private:
  const Millis least_;
  const Millis most_;
  Millis ceiling_;
  std::minstd_rand random_;
};

}  // namespace postoffice
