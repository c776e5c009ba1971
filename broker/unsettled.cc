#include "broker/unsettled.h"

namespace postoffice {

void Unsettled::add(uint64_t tag) {
  while (first_tag_ + states_.size() < tag) states_.push_back(State::kGone);
  states_.push_back(State::kHeld);
  ++held_;
}

Unsettled::State* Unsettled::find(uint64_t tag) {
  if (tag < first_tag_ || tag - first_tag_ >= states_.size()) return nullptr;
  return &states_[tag - first_tag_];
}

bool Unsettled::ack(uint64_t tag) {
  State* state = find(tag);
  if (state == nullptr || *state != State::kHeld) return false;
  *state = State::kAcked;
  acked_.push_back(tag);
  --held_;
  return true;
}

bool Unsettled::requeue(uint64_t tag) {
  State* state = find(tag);
  if (state == nullptr || *state != State::kHeld) return false;
  *state = State::kGone;
  --held_;
  return true;
}

std::vector<Unsettled::Ack> Unsettled::take_acks() {
  std::vector<Ack> acks;
  uint64_t up_to = 0;
  while (!states_.empty() && states_.front() != State::kHeld) {
    if (states_.front() == State::kAcked) up_to = first_tag_;
    states_.pop_front();
    ++first_tag_;
  }
  if (up_to != 0) acks.push_back({up_to, true});
  for (const uint64_t tag : acked_) {
    State* state = find(tag);
    if (state == nullptr) continue;
    *state = State::kGone;
    acks.push_back({tag, false});
  }
  acked_.clear();
  return acks;
}

void Unsettled::clear() {
  states_.clear();
  acked_.clear();
  first_tag_ = 1;
  held_ = 0;
}

}  // namespace postoffice
