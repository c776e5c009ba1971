#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/settings.h"
#include "base/time.h"

namespace postoffice::tester {

// How a request that is to fail fails.
struct Failure {
  enum class Kind {
    kStatus,   // After the latency, with `status`; 429 and 503 say when to come again.
    kHang,     // No answer, ever; the connection stays open.
    kGarbage,  // After the latency, with something that cannot be read, another thing each time.
    kRefuse,   // The connection is reset at once.
  };
  Kind kind = Kind::kStatus;
  int status = 500;

  std::string text() const;  // As FAILURE_KIND is written.
};

// What the object service does with the requests that arrive. Can be changed while it runs.
struct ObjectBehaviour {
  Millis latency_min{300};
  Millis latency_max{4300};
  Failure failure;
  std::optional<double> failure_rate;  // 0 to 1; none: 1 when there are fail_ids, else 0.
  std::vector<int64_t> fail_ids;       // Sorted. Empty: every id may fail.
  int64_t retry_after_seconds = 1;
  Millis flip_every{0};  // 0: never.

  // What is said of `id` to a question that arrives at `asked_at`: even ids are online. With
  // `flip_every`, time since 1970 is divided into spans of that length, and in every other one it
  // is the opposite.
  bool online(int64_t id, UnixTime asked_at) const;
  // The probability that a request for `id` fails.
  double failure_probability(int64_t id) const;
  // Appends what does not fit together.
  void check(std::vector<std::string>& mistakes) const;
};

// One declaration for flags, environment and PUT /control. `behaviour` outlives them.
std::vector<Settings::Declaration> behaviour_settings(ObjectBehaviour* behaviour);

// Changes what `query` names, such as failure_kind=500&failure_rate=1&fail_ids=7 (RFC 3986
// percent-encoding; names as in behaviour_settings, in lower case). Appends one line for each
// mistake; then `behaviour` is not to be used.
void apply_query(std::string_view query, ObjectBehaviour& behaviour,
                 std::vector<std::string>& mistakes);

}  // namespace postoffice::tester
