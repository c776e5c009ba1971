#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace postoffice::bench {

using Clock = std::chrono::steady_clock;
using Micros = std::chrono::microseconds;

// What the load generator does to one durable queue, which exists. One thread does all of it, on
// sockets of its own, with encoded frames: the same for every broker.
struct LoadOptions {
  uint16_t port = 0;
  std::string queue;
  uint32_t body_bytes = 100;
  uint32_t connections = 1;  // Of publishers; as many again of consumers, if there are any.
  // Published and not confirmed, on all connections together.
  uint32_t in_flight = 1000;
  // Messages a second, on all connections together, whatever is in flight; 0: as many as
  // `in_flight` allows.
  double rate = 0;
  bool consume = false;
  uint16_t prefetch = 1000;  // Of each consumer, which acknowledges a tenth of that at a time.
  uint64_t messages = 0;     // Ends when so many are confirmed; 0: after `duration`.
  std::chrono::milliseconds warm_up{500};
  std::chrono::milliseconds duration{3000};
};

struct LoadResult {
  // In the time that was measured.
  double confirmed_per_second = 0;
  double acknowledged_per_second = 0;
  // From the send to the confirm of each message; at a rate, from when it was due.
  std::vector<uint32_t> latencies_us;
  // CPU of this thread, as a part of one core.
  double busy = 0;
  uint64_t messages = 0;  // All that were confirmed, measured or not.
};

// Runs until all that was published is confirmed. Throws std::runtime_error when the broker refuses
// or returns a message, closes, or does not confirm for 30 s.
LoadResult run_load(const LoadOptions& options);

}  // namespace postoffice::bench
