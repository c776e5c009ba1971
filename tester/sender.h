#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/thread.h"
#include "base/time.h"
#include "base/url.h"
#include "tester/callback_ids.h"
#include "tester/delivery_log.h"
#include "tester/latency_histogram.h"
#include "tester/schedule.h"
#include "tester/sent_log.h"
#include "tester/stats.h"

namespace postoffice::tester {

// Sends callbacks, one at a time on each of its connections, when the schedule says so.
// stats(), sending() and stop_sending() are thread-safe.
class Sender {
 public:
  struct Options {
    Url url;  // http://host[:port]/path
    size_t connections = 1;
    Millis timeout{1000};  // To connect, to send, and for each part of the answer.
    bool resend = false;   // Until the answer is 2xx.
  };
  // `sent_log` may be null. `on_done` is called once, on a sender's thread, when the last callback
  // of the schedule was sent. All references outlive this.
  Sender(Options options, Schedule& schedule, CallbackIds& ids, SentLog* sent_log,
         std::function<void()> on_done);
  ~Sender() { stop(); }
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  void start();
  // Callbacks under way are sent to their end, no further ones. Does not wait for them.
  void stop_sending() { schedule_.stop(); }
  // Returns when nothing is under way any more, after about `timeout` at most. Idempotent.
  void stop();

  bool sending() const { return active_ != 0; }
  CallbackStats stats() const;

 private:
  class Client;

  void run();
  void send(Client& client, const std::vector<int64_t>& ids);
  // True for 2xx.
  bool post(Client& client, const std::string& body, const std::vector<int64_t>& ids);

  const Options options_;
  Schedule& schedule_;
  CallbackIds& ids_;
  SentLog* const sent_log_;
  const std::function<void()> on_done_;

  DeliveryLog delivery_log_;
  std::atomic<size_t> active_ = 0;
  std::vector<Thread> threads_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  CallbackStats stats_;
  LatencyHistogram latencies_;
};

}  // namespace postoffice::tester
