#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace postoffice::embedded {

// The publisher confirms a channel owes (https://www.rabbitmq.com/docs/confirms): every delivery
// tag is settled once, in as few basic.ack as possible.
class Confirms {
 public:
  // The next message: it is confirmed when the log is durable up to `sequence`; 0: at once.
  void published(uint64_t sequence);
  // The next message is refused.
  void refused();
  // Nothing that waits for the log will ever be durable.
  void refuse_all();

  // Appends what can be told now.
  void write(uint64_t durable, uint16_t channel, std::string& out);
  bool waits() const { return !slots_.empty(); }

 private:
  enum class State : uint8_t { kWaiting, kRefused, kTold };
  struct Slot {
    uint64_t sequence = 0;
    State state = State::kWaiting;
  };

  uint64_t first_tag_ = 1;  // Of slots_.
  std::deque<Slot> slots_;
  std::vector<uint64_t> at_once_;  // Tags of this turn that need not wait.
};

}  // namespace postoffice::embedded
