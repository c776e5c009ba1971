#include "tester/assign.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "tester/object_id.h"

namespace postoffice::tester {
namespace {

constexpr size_t kMostIds = 10'000;

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

// Without the zeros that std::to_string adds: 0.01, 100000.
std::string format_number(double number) {
  std::string text = std::to_string(number);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::optional<std::vector<int64_t>> parse_ids(std::string_view text) {
  std::vector<int64_t> ids;
  while (true) {
    const size_t comma = text.find(',');
    const auto id = parse_object_id(text.substr(0, comma));
    if (!id || ids.size() == kMostIds) return std::nullopt;
    ids.push_back(*id);
    if (comma == std::string_view::npos) return ids;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

Assign to_bool(bool* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    if (text != "true" && text != "false") return "true or false";
    *target = text == "true";
    return std::nullopt;
  };
}

Assign to_optional_integer(std::optional<int64_t>* target, int64_t least, int64_t most) {
  return [=](std::string_view text) -> std::optional<std::string> {
    if (text.empty()) {
      target->reset();
      return std::nullopt;
    }
    int64_t number = 0;
    auto wanted = to_integer(&number, least, most)(text);
    if (!wanted) *target = number;
    return wanted;
  };
}

Assign to_optional_number(std::optional<double>* target, double least, double most) {
  return [=](std::string_view text) -> std::optional<std::string> {
    const auto number = parse_number<double>(text);
    // Written so that not-a-number is refused too.
    const bool within = number && *number >= least && *number <= most;
    if (!within && !text.empty()) {
      return "a number, " + format_number(least) + " to " + format_number(most);
    }
    *target = number;
    return std::nullopt;
  };
}

Assign to_ids(std::vector<int64_t>* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    if (text.empty()) {
      target->clear();
      return std::nullopt;
    }
    auto ids = parse_ids(text);
    if (!ids) return "ids separated by commas, like 7,8, at most " + std::to_string(kMostIds);
    std::ranges::sort(*ids);
    *target = std::move(*ids);
    return std::nullopt;
  };
}

Assign to_range(std::pair<int64_t, int64_t>* target, int64_t most) {
  return [=](std::string_view text) -> std::optional<std::string> {
    const size_t dash = text.find('-');
    const auto first = parse_number<int64_t>(text.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_number<int64_t>(text.substr(dash + 1));
    if (!first || !last || *first < 0 || *last < *first || *last > most) {
      return "a whole number, or the least and the most, like 20 or 0-199, up to " +
             std::to_string(most);
    }
    *target = {*first, *last};
    return std::nullopt;
  };
}

}  // namespace postoffice::tester
