#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace postoffice::tester {

// What was sent so far. A callback that is sent again counts each time.
struct CallbackStats {
  uint64_t sent = 0;
  std::map<int, uint64_t> by_status;        // 0: unanswered.
  uint64_t ids = 0;                         // In all that was sent.
  uint64_t skipped = 0;                     // Not sent when due, because every connection was busy.
  std::chrono::microseconds latency_p50{};  // Of all, unanswered ones included; within 2 %.
  std::chrono::microseconds latency_p99{};
  std::chrono::microseconds latency_max{};  // Exact.
};

// What became of the object requests so far.
struct ObjectStats {
  std::map<int, uint64_t> by_status;  // Garbage counts as what it claims to be, 200.
  uint64_t refused = 0;
  uint64_t abandoned = 0;  // The client was gone before its answer was due, or while it hung.
  uint64_t in_flight = 0;  // Hanging ones included.
  uint64_t most_at_once = 0;
};

// One JSON object, for GET /stats.
std::string stats_json(const CallbackStats& callbacks, const ObjectStats& objects);
// A few lines for a person.
std::string summary(const CallbackStats& callbacks, const ObjectStats& objects);

}  // namespace postoffice::tester
