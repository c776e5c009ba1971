#include "base/backoff.h"

#include <algorithm>

namespace postoffice {

Backoff::Backoff(Millis least, Millis most)
    : least_(least), most_(most), ceiling_(least), random_(std::random_device{}()) {}

Millis Backoff::next() {
  const Millis ceiling = std::min(ceiling_, most_);
  ceiling_ = std::min(ceiling * 2, most_);
  return Millis(std::uniform_int_distribution<int64_t>(0, ceiling.count())(random_));
}

}  // namespace postoffice
