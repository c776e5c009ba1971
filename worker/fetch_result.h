#pragma once

#include <optional>
#include <string>

#include "base/time.h"

namespace postoffice {

// What one attempt to fetch an object came to.
struct FetchResult {
  enum class Kind {
    kAnswered,      // `online` is known.
    kGone,          // 404, 410: there is no such object.
    kUnreachable,   // No connection, no answer in time, or 5xx: perhaps the whole service is down.
    kRetryable,     // 408, 429, or an answer that cannot be read: another attempt may help.
    kUnauthorised,  // 401, 403.
    kRejected,      // Other 3xx and 4xx: another attempt will not help.
    kAbandoned,     // This process stops.
  };
  Kind kind = Kind::kAbandoned;
  bool online = false;
  UnixTime checked_at;                // When the question was sent, if it was.
  std::string reason;                 // Why it failed: "answer 500".
  std::optional<Millis> retry_after;  // What the service asked for (RFC 9110, section 10.2.3).
};

// For the label `result` of metrics: "online", "offline", "gone", ...
const char* name_of(const FetchResult& result);

}  // namespace postoffice
