#include "store/column_values.h"

#include <algorithm>
#include <limits>

namespace postoffice {
namespace {

using Role = WatermarkReport::Role;

constexpr const char* kServer = "server";
constexpr const char* kWorker = "worker";

}  // namespace

const char* role_text(Role role) { return role == Role::kServer ? kServer : kWorker; }

Role role_from(std::string_view text) { return text == kServer ? Role::kServer : Role::kWorker; }

int64_t sql_limit(size_t limit) {
  constexpr auto kMost = static_cast<size_t>(std::numeric_limits<int64_t>::max());
  return static_cast<int64_t>(std::min(limit, kMost));
}

}  // namespace postoffice
