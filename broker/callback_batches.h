#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "broker/breaker.h"
#include "broker/intake.h"
#include "broker/outbox.h"
#include "broker/publisher.h"

namespace postoffice {

// Lines that share a message, an outbox entry and their fate.
struct CallbackBatch {
  // kWaiting → kInFlight → kAnswered while the broker keeps up. A batch leaves that way for
  // kForOutbox → kCommitting → kAnswered by its deadline, by a failure at the broker, or starts
  // there while the breaker is open. What the outbox refuses goes back to kWaiting once, if the
  // broker has not been tried.
  enum class State {
    kWaiting,     // For a message.
    kInFlight,    // Handed to the publisher, not settled, deadline not passed.
    kForOutbox,   // For the next transaction. May be unsettled still.
    kCommitting,  // In it: `body` is with the outbox thread.
    kAnswered,    // `done` is empty.
  };

  State state = State::kWaiting;
  std::string body;
  size_t bytes = 0;        // Of `body`, also while that is elsewhere.
  uint32_t callbacks = 0;  // Lines in it.
  std::vector<Intake::Done> done;
  UnixTime oldest_received_at;
  SteadyClock::time_point deadline;  // Of the line that arrived first.
  SteadyClock::time_point sent_at;
  bool closed = false;     // Takes no more lines.
  bool tried = false;      // At the broker, or sent back to be.
  bool late = false;       // Unsettled after its deadline.
  bool confirmed = false;  // While kCommitting.
  uint64_t entry_id = 0;   // Where the outbox keeps it.
};

// What an Intake knows of the callbacks that are not answered, and the rules by which they move. It
// does nothing itself: no threads, no clocks, no calls to publisher or outbox. Not thread-safe.
class CallbackBatches {
 public:
  using Batch = std::shared_ptr<CallbackBatch>;

  // `max_outstanding`: most messages in flight, and most late ones with which a broker is still
  // tried in place of an outbox that refuses. A message that is not full waits while kMostNotFull
  // are in flight: a broker that is behind gets fewer and fuller ones, and one that is far away
  // still as many bytes as there are.
  static constexpr size_t kMostNotFull = 2;
  CallbackBatches(Millis deadline, size_t max_outstanding)
      : deadline_(deadline),
        max_outstanding_(max_outstanding),
        most_not_full_(std::min(kMostNotFull, max_outstanding)),
        breaker_(deadline) {}

  // Callbacks to be answered once no lock is held.
  struct Answer {
    std::vector<Intake::Done> done;
    Accepted accepted = Accepted::kRefused;
    void give() const {
      for (const auto& one : done) one(accepted);
    }
  };

  struct Lines {
    std::string_view text;
    uint32_t callbacks = 1;
    UnixTime oldest_received_at;
  };
  // `arrived_at`: when the time began that the deadline bounds.
  void add(SteadyClock::time_point now, SteadyClock::time_point arrived_at, bool broker_available,
           const Lines& lines, Intake::Done done);

  // The next message if one may be sent now; it counts as sent. Else nullptr.
  Batch next_to_send(SteadyClock::time_point now);
  Answer settled(const Batch& batch, PublishOutcome outcome, SteadyClock::time_point now);
  void drainer_confirmed(SteadyClock::time_point sent_at, SteadyClock::time_point settled_at) {
    breaker_.confirmed(sent_at, settled_at);
  }

  // The broker became available. With an empty outbox there is nothing to probe it with but
  // callbacks.
  void broker_is_back(bool outbox_is_empty) {
    if (outbox_is_empty && !outbox_has_work() && !committing_since_) breaker_.close();
  }

  // Everything not sent goes to the outbox, and what comes from now on.
  void open_breaker(SteadyClock::time_point now, const char* why);
  // Sends to the outbox what has missed its deadline.
  void expire(SteadyClock::time_point now);
  std::optional<SteadyClock::time_point> next_deadline() const;

  struct Transaction {
    std::vector<Batch> batches;
    std::vector<OutboxEntry> entries;  // One for each of them.
    std::vector<uint64_t> removals;
  };
  bool outbox_has_work() const { return !for_outbox_.empty() || !removals_.empty(); }
  // All that waits for the outbox.
  Transaction begin(SteadyClock::time_point now);
  std::vector<Answer> finish(Transaction transaction, std::optional<OutboxRefusal> refusal,
                             bool broker_available, SteadyClock::time_point now);

  // Receive times of callbacks that reached the queue late, since the last call: to be asked for
  // before their entries are removed.
  std::optional<UnixTime> take_confirmed_late();

  size_t bytes() const { return bytes_; }  // Of all lines not answered.
  const Breaker& breaker() const { return breaker_; }

 private:
  bool broker_first(SteadyClock::time_point now, bool broker_available) const;
  bool may_try_broker(bool broker_available) const;
  Answer settled_late(CallbackBatch& batch, PublishOutcome outcome);
  void committed(CallbackBatch& batch, uint64_t entry_id);
  void confirmed_late(const CallbackBatch& batch);
  void to_outbox(Batch batch);
  Answer answer(CallbackBatch& batch, Accepted accepted);

  const Millis deadline_;
  const size_t max_outstanding_;
  const size_t most_not_full_;
  Breaker breaker_;
  std::deque<Batch> waiting_;       // In the order of their first lines.
  std::vector<Batch> in_flight_;    // At most max_outstanding_.
  std::deque<Batch> for_outbox_;    // Those answered meanwhile are skipped.
  std::vector<uint64_t> removals_;  // Entries that the broker confirmed late.
  std::optional<UnixTime> oldest_confirmed_late_;
  size_t bytes_ = 0;
  size_t late_ = 0;  // Messages unsettled after their deadline.
  bool outbox_refused_ = false;
  std::optional<SteadyClock::time_point> committing_since_;
};

}  // namespace postoffice
