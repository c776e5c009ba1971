#include "worker/receive_time.h"

#include <algorithm>
#include <charconv>

namespace postoffice {
namespace {

constexpr std::string_view kStart = "{\"received_at\":";
constexpr std::string_view kRetryMember = "],\"attempt\":";
// A retry names one id: its `attempt` stands near the start of the line.
constexpr size_t kRetryPrefix = 96;

}  // namespace

std::optional<UnixTime> oldest_callback_in(std::string_view body) {
  std::optional<UnixTime> oldest;
  while (!body.empty()) {
    const std::string_view line = body.substr(0, body.find('\n'));
    body.remove_prefix(std::min(line.size() + 1, body.size()));
    if (!line.starts_with(kStart)) continue;
    if (line.substr(0, kRetryPrefix).find(kRetryMember) != std::string_view::npos) continue;
    int64_t millis = 0;
    const auto parsed =
        std::from_chars(line.data() + kStart.size(), line.data() + line.size(), millis);
    if (parsed.ec != std::errc()) continue;
    oldest = earlier(oldest, from_unix_millis(millis));
  }
  return oldest;
}

}  // namespace postoffice
