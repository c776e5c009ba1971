#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace postoffice {

using Millis = std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

// A moment on the wall clock, in milliseconds since 1970-01-01T00:00:00Z: what messages and rows
// carry.
using UnixTime = std::chrono::sys_time<Millis>;

UnixTime unix_now();

inline int64_t to_unix_millis(UnixTime time) { return time.time_since_epoch().count(); }
inline UnixTime from_unix_millis(int64_t millis) { return UnixTime(Millis(millis)); }

// The earlier one; either may be missing.
std::optional<UnixTime> earlier(std::optional<UnixTime> left, std::optional<UnixTime> right);

// RFC 3339 in UTC with milliseconds: 2026-11-21T09:30:00.123Z. Years 0000 to 9999; outside them the
// nearest end is written.
std::string format_rfc3339(UnixTime time);

// A whole number and a unit, ms, s, m or h: "250ms", "30s", "1h". Nothing else is a duration.
std::optional<Millis> parse_duration(std::string_view text);

// The shortest exact form that parse_duration reads back.
std::string format_duration(Millis duration);

}  // namespace postoffice
