#include <algorithm>
#include <array>
#include <utility>

#include "base/settings.h"
#include "base/text.h"
#include "base/url.h"

namespace postoffice {
namespace {

struct SizeUnit {
  std::string_view suffix;
  uint64_t bytes;
};
constexpr std::array kSizeUnits = {
    SizeUnit{"KiB", uint64_t{1} << 10}, SizeUnit{"MiB", uint64_t{1} << 20},
    SizeUnit{"GiB", uint64_t{1} << 30}, SizeUnit{"TiB", uint64_t{1} << 40}};

std::optional<uint64_t> parse_size_bytes(std::string_view text) {
  uint64_t unit_bytes = 1;
  for (const auto& unit : kSizeUnits) {
    if (!text.ends_with(unit.suffix)) continue;
    text.remove_suffix(unit.suffix.size());
    unit_bytes = unit.bytes;
    break;
  }
  const auto amount = parse_integer<uint64_t>(text);
  if (!amount || *amount > INT64_MAX / unit_bytes) return std::nullopt;
  return *amount * unit_bytes;
}

constexpr std::string_view kPortWanted = "a port, 1 to 65535";

}  // namespace

Assign to_string(std::string* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    *target = text;
    return std::nullopt;
  };
}

Assign to_port(uint16_t* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    const auto port = parse_integer<uint16_t>(text);
    if (!port || *port == 0) return std::string(kPortWanted);
    *target = *port;
    return std::nullopt;
  };
}

Assign to_optional_port(std::optional<uint16_t>* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    if (text.empty()) {
      target->reset();
      return std::nullopt;
    }
    uint16_t port = 0;
    auto wanted = to_port(&port)(text);
    if (!wanted) *target = port;
    return wanted;
  };
}

Assign to_integer(int64_t* target, int64_t least, int64_t most) {
  return [=](std::string_view text) -> std::optional<std::string> {
    const auto number = parse_integer<int64_t>(text);
    if (!number || *number < least || *number > most) {
      return "a whole number, " + std::to_string(least) + " to " + std::to_string(most);
    }
    *target = *number;
    return std::nullopt;
  };
}

Assign to_size_bytes(uint64_t* target, uint64_t least, uint64_t most) {
  return [=](std::string_view text) -> std::optional<std::string> {
    const auto bytes = parse_size_bytes(text);
    if (!bytes || *bytes < least || *bytes > most) {
      if (most < INT64_MAX) {
        return "a size of " + std::to_string(least) + " to " + std::to_string(most) +
               " bytes, like 1048576 or 64KiB";
      }
      return "a size of at least " + std::to_string(least) + " bytes, like 1048576, 64KiB or 10GiB";
    }
    *target = *bytes;
    return std::nullopt;
  };
}

Assign to_duration(Millis* target, Millis least, Millis most) {
  return [=](std::string_view text) -> std::optional<std::string> {
    const auto duration = parse_duration(text);
    if (!duration || *duration < least || *duration > most) {
      return "a duration, " + format_duration(least) + " to " + format_duration(most) +
             ", like 250ms, 30s, 5m or 1h";
    }
    *target = *duration;
    return std::nullopt;
  };
}

Assign to_choice(std::string* target, std::vector<std::string> choices) {
  return
      [target, choices = std::move(choices)](std::string_view text) -> std::optional<std::string> {
        if (std::ranges::find(choices, text) == choices.end()) {
          std::string wanted = "one of";
          for (const auto& choice : choices) wanted += " " + choice;
          return wanted;
        }
        *target = text;
        return std::nullopt;
      };
}

Assign to_http_url(std::string* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    const auto url = parse_url(text);
    if (!url || url->scheme != "http") return "a URL like http://host:9010/objects";
    *target = text;
    return std::nullopt;
  };
}

}  // namespace postoffice
