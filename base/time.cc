#include "base/time.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>
#include <utility>

namespace postoffice {
namespace {

struct Unit {
  std::string_view suffix;
  int64_t millis;
};

// "ms" before "s" and "m", so that the longest suffix is found first.
constexpr std::array kUnits = {Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000},
                               Unit{"h", 3'600'000}};

}  // namespace

UnixTime unix_now() {
  return std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now());
}

std::optional<UnixTime> earlier(std::optional<UnixTime> left, std::optional<UnixTime> right) {
  if (!left || !right) return left ? left : right;
  return std::min(*left, *right);
}

std::string format_rfc3339(UnixTime time) {
  using std::chrono::days;
  const UnixTime first = std::chrono::sys_days(std::chrono::year(0) / 1 / 1);
  const UnixTime last =
      UnixTime(std::chrono::sys_days(std::chrono::year(10000) / 1 / 1)) - Millis(1);
  time = std::clamp(time, first, last);
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::array<char, 64> text{};
  const int length = std::snprintf(
      text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
      static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
      static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()),
      static_cast<int>(clock.subseconds().count()));
  return {text.data(), static_cast<size_t>(length)};
}

std::optional<Millis> parse_duration(std::string_view text) {
  uint64_t amount = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, amount);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  const std::string_view suffix(rest, static_cast<size_t>(end - rest));
  for (const auto& unit : kUnits) {
    if (suffix != unit.suffix) continue;
    constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (amount > kMost / static_cast<uint64_t>(unit.millis)) return std::nullopt;
    return Millis(static_cast<int64_t>(amount) * unit.millis);
  }
  return std::nullopt;
}

std::string format_duration(Millis duration) {
  const int64_t count = duration.count();
  const Unit* best = &kUnits.front();
  for (const auto& unit : kUnits) {
    if (count != 0 && count % unit.millis == 0) best = &unit;
  }
  return std::to_string(count / best->millis) + std::string(best->suffix);
}

}  // namespace postoffice
