#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "base/settings.h"

namespace postoffice::tester {

// Assigners besides those of base/settings.h. `target` outlives the Settings.

Assign to_bool(bool* target);  // true, false
// A whole number from `least` to `most`; empty text: none.
Assign to_optional_integer(std::optional<int64_t>* target, int64_t least, int64_t most);
// A decimal number from `least` to `most`; empty text: none.
Assign to_optional_number(std::optional<double>* target, double least, double most);
Assign to_ids(std::vector<int64_t>* target);  // 7,8,-9, at most 10,000; sorted. Empty text: none.
// "20" or "0-199", each at most `most`.
Assign to_range(std::pair<int64_t, int64_t>* target, int64_t most);

}  // namespace postoffice::tester
