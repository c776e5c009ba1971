#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "base/time.h"
#include "broker/publisher.h"

namespace postoffice {

// The messages sent on one channel and not settled yet, by delivery tag: 1, 2, ... in the order
// sent. Each is settled once, whatever the broker repeats. Not thread-safe.
class Unconfirmed {
 public:
  struct Settlement {
    PublishOutcome outcome;
    Publisher::Settled settled;
    SteadyClock::time_point sent_at;
  };
  using Settle = std::function<void(Settlement)>;

  // Returns the tag of the message.
  uint64_t add(Publisher::Settled settled, SteadyClock::time_point sent_at);

  // basic.return came for it: an ack that follows makes it kReturned.
  void mark_returned(uint64_t tag);

  // basic.ack (kConfirmed) or basic.nack (kNacked) of `tag`, or with `multiple` of all up to it;
  // tag 0 with `multiple` means all. Unknown tags are ignored.
  void settle(uint64_t tag, bool multiple, PublishOutcome outcome, const Settle& settle);
  // The channel was lost. Tags start again at 1.
  void lose_all(const Settle& settle);

  size_t size() const { return size_; }
  // When the oldest message that is not settled was sent.
  std::optional<SteadyClock::time_point> oldest_sent_at() const;

 private:
  struct Entry {
    Publisher::Settled settled;  // Empty: settled already.
    SteadyClock::time_point sent_at;
    bool returned = false;
  };
  Entry* find(uint64_t tag);
  void settle_entry(Entry& entry, PublishOutcome outcome, const Settle& settle);

  std::deque<Entry> entries_;
  uint64_t first_tag_ = 1;  // Of entries_.front().
  size_t size_ = 0;
};

}  // namespace postoffice
