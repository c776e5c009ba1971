#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace postoffice {

// The deliveries of one channel that are not settled yet, by delivery tag, and the fewest basic.ack
// that tell the broker about those acknowledged since. Not thread-safe.
class Unsettled {
 public:
  // Tags come as the broker counts them: 1, 2, ...
  void add(uint64_t tag);

  // False when `tag` is not held or settled already. Acks are sent by take_acks(); a requeue is
  // sent at once, which keeps it out of an ack with `multiple` that follows.
  bool ack(uint64_t tag);
  bool requeue(uint64_t tag);

  struct Ack {
    uint64_t tag;
    bool multiple;  // All up to `tag`.
  };
  // One with `multiple` up to the highest tag below which nothing is held, and one for each
  // acknowledged above it.
  std::vector<Ack> take_acks();

  void clear();
  size_t held() const { return held_; }

 private:
  enum class State : uint8_t { kHeld, kAcked, kGone };
  State* find(uint64_t tag);

  std::deque<State> states_;
  uint64_t first_tag_ = 1;  // Of states_.front().
  std::vector<uint64_t> acked_;
  size_t held_ = 0;
};

}  // namespace postoffice
