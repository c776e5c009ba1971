#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/backoff.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/time.h"
#include "broker/forwarded_times.h"
#include "broker/outbox.h"
#include "broker/publisher.h"

namespace postoffice {

// Forwards what waits in the outbox to the broker, in order, whenever the publisher is available,
// and removes what was confirmed. Entries that follow each other share a message, up to
// kMessageBytes. After a failure it waits for what is in flight, backs off and starts again from
// the first entry left: so after a failure, and only then, a later entry may overtake an earlier
// one.
//
// Owns its thread. start(), stop(), wake() and availability_changed() are thread-safe; start() and
// stop() are not to be called at the same time.
class OutboxDrainer {
 public:
  struct Options {
    size_t max_in_flight = 16;  // Messages.
    Millis stop_wait{250};      // How long stop() waits for messages in flight.
    Millis least_backoff{100};
    Millis most_backoff{5000};
  };
  // A message handed to the publisher at `sent_at` was confirmed at `settled_at`. On the drainer's
  // thread.
  using Confirmed =
      std::function<void(SteadyClock::time_point sent_at, SteadyClock::time_point settled_at)>;

  OutboxDrainer(Options options, Publisher& publisher, Outbox& outbox, ForwardedTimes& forwarded,
                Confirmed confirmed, Metrics& metrics);
  ~OutboxDrainer() { stop(); }

  void start();
  // Sends nothing more. What is not settled in time stays in the outbox. Idempotent.
  void stop();

  // The outbox has got entries.
  void wake();
  // Wakes also from the backoff after a lost connection.
  void availability_changed(bool available);

 private:
  class Signals;
  struct Settlement {
    uint64_t number = 0;  // Of the message.
    PublishOutcome outcome;
    SteadyClock::time_point at;
  };
  struct Forwarding {  // A message in flight.
    std::vector<uint64_t> ids;
    uint32_t callbacks = 0;
    UnixTime oldest_received_at;
    SteadyClock::time_point sent_at;
  };
  // How a round of draining ended. kFailed waits; kDisconnected waits for the connection at most.
  enum class Round { kNothing, kDrained, kFailed, kDisconnected };

  void run();
  Round drain();
  bool fill_window();
  bool next_message(Message& message, Forwarding& forwarding);
  void send(Message message, Forwarding forwarding);
  void take_settled(const std::vector<Settlement>& settled);

  const Options options_;
  Publisher& publisher_;
  Outbox& outbox_;
  ForwardedTimes& forwarded_;
  const Confirmed confirmed_;
  prometheus::Counter& forwarded_total_;
  const std::shared_ptr<Signals> signals_;  // Shared with what the publisher has yet to settle.
  bool started_ = false;

  // Of the drainer's thread, while it runs.
  Backoff backoff_;
  Round round_ = Round::kNothing;
  std::map<uint64_t, Forwarding> in_flight_;  // By number.
  uint64_t next_number_ = 1;
  uint64_t read_after_ = 0;
  std::deque<OutboxEntry> read_ahead_;
  bool unreadable_logged_ = false;

  Thread thread_;
};

}  // namespace postoffice
