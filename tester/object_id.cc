#include "tester/object_id.h"

#include <charconv>

namespace postoffice::tester {

std::optional<int64_t> parse_object_id(std::string_view text) {
  // from_chars takes a minus but no plus.
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  int64_t id = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc() || rest != end) return std::nullopt;
  return id;
}

}  // namespace postoffice::tester
