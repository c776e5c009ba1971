#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include "broker/embedded/field_table.h"

namespace postoffice::embedded {

// Letters of the types that both know, which are all there are.
inline constexpr std::string_view kTypes = "tbBsuIilLTfdDSxVAF";

// Makes tables and values: the same for the same seed.
class TableMaker {
 public:
  explicit TableMaker(uint32_t seed) : random_(seed) {}

  uint64_t below(uint64_t end) { return random_() % end; }
  // Of any bytes, mostly short.
  std::string text(size_t most);
  // What is nested in it is at `depth` + 1, and so on.
  FieldTable table(int depth);
  FieldValue value(char type, int depth);

 private:
  // Often at an end of its range, as the others.
  int64_t integer();
  template <typename Real>
  Real real() {
    using Limits = std::numeric_limits<Real>;
    const Real ends[] = {0, -Real(0), Limits::max(), Limits::denorm_min(), -Limits::infinity()};
    if (below(3) == 0) return ends[below(std::size(ends))];
    return static_cast<Real>(integer()) / 7;
  }

  std::mt19937_64 random_;
};

}  // namespace postoffice::embedded
