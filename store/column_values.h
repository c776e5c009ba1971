#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "store/store.h"

namespace postoffice {

// How values of the interface look in SQL, on every engine.

// Column `role` of watermark_reports.
const char* role_text(WatermarkReport::Role role);
WatermarkReport::Role role_from(std::string_view text);

// For LIMIT, which takes a signed number.
int64_t sql_limit(size_t limit);

}  // namespace postoffice
