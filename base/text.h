#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace postoffice {

// `text` without the `blanks` at its ends.
constexpr std::string_view trim(std::string_view text, std::string_view blanks = " \t") {
  const size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// The number that all of `text` is; nothing when it is none, or out of range. No plus sign, no
// blanks; a minus for signed integers only.
template <typename Integer>
std::optional<Integer> parse_integer(std::string_view text, int base = 10) {
  Integer value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

}  // namespace postoffice
