#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/outbox.h"
#include "broker/publisher.h"

namespace postoffice {

// What became of an accepted callback.
enum class Accepted {
  kByBroker,  // In a queue, confirmed.
  kByOutbox,  // Fsynced on local disk.
  kRefused,   // Neither could take it: answer 503. The callback may still reach the broker.
};

// Takes callbacks in durably: by the broker, or, when the broker is away, blocked or slower than
// the deadline, by the outbox. Nothing it does waits for a socket.
//
// - Callbacks coalesce: while `max_outstanding` messages are unconfirmed, arriving lines gather in
//   the next one.
// - A line that is not confirmed within `deadline` of its arrival goes to the outbox. One miss, or
//   one that arrived longer ago, opens a breaker: lines then go straight to the outbox, until a
//   message sent after that, by the drainer as a rule, is confirmed within the deadline, or the
//   broker comes back and the outbox is empty.
// - The drainer forwards outbox entries in order when the broker is back, and after a restart. A
//   late confirm deletes the entry written meanwhile.
// - What the outbox refuses is tried at the broker, if that was not done before: a full disk alone
//   refuses nothing.
// - At-least-once: a line may reach the queue twice, never zero times.
//
// Thread-safe. Owns the outbox thread and the drainer thread; does not own publisher, outbox and
// metrics, which outlive it.
class Intake {
 public:
  struct Options {
    Millis deadline{250};
    size_t max_outstanding = 8;           // Messages.
    size_t max_waiting_bytes = 64 << 20;  // Lines in memory, all told; beyond it accept() refuses.
  };
  using Done = std::function<void(Accepted)>;

  // Sets publisher.on_availability(), so it comes before the publisher is started.
  Intake(Options options, Publisher& publisher, Outbox& outbox, Metrics& metrics);
  ~Intake();

  // Not to be called at the same time as stop().
  void start();
  // Everything accepted before is answered (by broker or outbox) before it returns; draining stops.
  // Idempotent.
  void stop();

  // `lines` are so many `callbacks`, NDJSON, each with its '\n', the oldest received at
  // `received_at`: they share their fate. `done` is called exactly once, on some thread of the
  // intake or publisher or on the caller's, and must not block or throw. Refused before start() and
  // after stop(). The deadline counts from `arrived_at`: what the first line has waited for before.
  void accept(const std::string& lines, UnixTime received_at, Done done,
              SteadyClock::time_point arrived_at = SteadyClock::now(), uint32_t callbacks = 1);

  // The receive time of the oldest callback in the outbox, or forwarded from it and perhaps still
  // in the queue: what this server reports for the watermark.
  std::optional<UnixTime> oldest_unforwarded() const;
  // An earlier run may have forwarded, or still held, callbacks received at `oldest_received_at` or
  // later: counts as forwarded.
  void forwarded_before(UnixTime oldest_received_at);
  // The queue was seen empty. Each call rests on a newer reading of the queue than the one before;
  // what was forwarded is forgotten at the second call after it, or after 10 minutes.
  void forwarded_settled();

  bool breaker_open() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;  // Shared with what the publisher has yet to settle.
};

}  // namespace postoffice
