#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "broker/embedded/consumer.h"

namespace postoffice::embedded {

// A delivery that was not acknowledged yet.
struct Delivered {
  uint64_t tag = 0;
  Entry entry;
  std::shared_ptr<Queue> queue;
  std::shared_ptr<Consumer> consumer;  // None: it was got, not consumed.
};

// A channel's deliveries by their tags, which rise from 1.
class UnsettledDeliveries {
 public:
  // Of the next delivery, whether it has to be acknowledged or not.
  uint64_t next_tag() const { return next_tag_; }
  void add(Delivered delivered);
  // It needs no acknowledgement.
  void skip() { ++next_tag_; }

  // Removes and returns those that the tag means: `multiple`, all up to it (0: all). Throws
  // ChannelError (406) when it is unknown.
  std::vector<Delivered> take(uint64_t tag, bool multiple);
  std::vector<Delivered> take_all();
  // Puts back what take() returned, of one call or of several; it looks at all that there is.
  void restore(std::vector<Delivered> delivered);
  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  size_t places() const { return slots_.size(); }  // In memory.

 private:
  // By tag. Those without a message were settled; at most as many as were not, and a few.
  std::deque<Delivered> slots_;
  size_t count_ = 0;  // Of those that were not.
  uint64_t next_tag_ = 1;
};

}  // namespace postoffice::embedded
