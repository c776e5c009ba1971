#include "broker/embedded/confirms.h"

#include "broker/embedded/frame.h"

namespace postoffice::embedded {
namespace {

void write_settled(std::string& out, uint16_t channel, uint32_t method, uint64_t tag,
                   bool multiple) {
  MethodWriter writer(out, channel, method);
  writer->u64(tag).octet(multiple ? 1 : 0);
}

}  // namespace

void Confirms::published(uint64_t sequence) {
  if (sequence == 0) at_once_.push_back(first_tag_ + slots_.size());
  slots_.push_back({sequence, State::kWaiting});
}

void Confirms::refused() {
  at_once_.push_back(first_tag_ + slots_.size());
  slots_.push_back({0, State::kRefused});
}

void Confirms::refuse_all() {
  for (auto& slot : slots_) {
    if (slot.state != State::kWaiting || slot.sequence == 0) continue;
    slot = {0, State::kRefused};
  }
}

void Confirms::write(uint64_t durable, uint16_t channel, std::string& out) {
  // Runs of the same answer from the first unsettled tag on are told with one method.
  uint64_t count = 0;
  State told = State::kTold;
  const auto tell = [&] {
    if (count > 0 && told != State::kTold) {
      write_settled(out, channel,
                    told == State::kWaiting ? AMQP_BASIC_ACK_METHOD : AMQP_BASIC_NACK_METHOD,
                    first_tag_ - 1, count > 1);
    }
    count = 0;
  };
  while (!slots_.empty()) {
    const auto& slot = slots_.front();
    if (slot.state == State::kWaiting && slot.sequence > durable) break;
    if (slot.state != told) tell();
    told = slot.state;
    ++count;
    ++first_tag_;
    slots_.pop_front();
  }
  tell();
  // Behind one that waits, those that need not are told one by one.
  for (const uint64_t tag : at_once_) {
    if (tag < first_tag_) continue;
    auto& slot = slots_[tag - first_tag_];
    write_settled(out, channel,
                  slot.state == State::kRefused ? AMQP_BASIC_NACK_METHOD : AMQP_BASIC_ACK_METHOD,
                  tag, false);
    slot.state = State::kTold;
  }
  at_once_.clear();
}

}  // namespace postoffice::embedded
