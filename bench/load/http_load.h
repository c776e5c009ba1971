#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace postoffice::bench {

// Requests `POST /callback` to 127.0.0.1 over keep-alive connections. One thread sends all of them,
// encoded beforehand: the same for every server.
struct HttpLoadOptions {
  uint16_t port = 0;
  uint32_t connections = 64;
  uint32_t ids = 20;  // Object ids that a callback names, random.
  // Requests a second on all connections together, each due at its time whatever is unanswered; one
  // that finds no idle connection waits for it. 0: each connection sends its next request when it
  // has its answer.
  double rate = 0;
  std::chrono::milliseconds warm_up{500};
  std::chrono::milliseconds duration{3000};
  int expected_status = 202;
};

struct HttpLoadResult {
  // In the time that was measured.
  double answered_per_second = 0;
  // From the send of each request to the end of its answer; at a rate, from when it was due.
  std::vector<uint32_t> latencies_us;
  std::vector<uint32_t> answered_per_connection;
  // CPU of this thread, as a part of one core.
  double busy = 0;
  uint64_t answered = 0;  // All, measured or not.
};

// Runs until all that was sent is answered. Raises the limit of open files as far as it may. Throws
// std::runtime_error when an answer has another status or cannot be read, when a connection is
// refused or closed, and when nothing is answered for 30 s.
HttpLoadResult run_http_load(const HttpLoadOptions& options);

// Answered on the connection with the fewest, as a part of the mean.
double slowest_share(const HttpLoadResult& result);

// How long the line of a message is that holds one such callback, about.
uint32_t callback_line_bytes(uint32_t ids);

}  // namespace postoffice::bench
