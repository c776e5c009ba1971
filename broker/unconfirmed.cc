#include "broker/unconfirmed.h"

#include <utility>

namespace postoffice {

uint64_t Unconfirmed::add(Publisher::Settled settled, SteadyClock::time_point sent_at) {
  entries_.push_back({std::move(settled), sent_at});
  ++size_;
  return first_tag_ + entries_.size() - 1;
}

Unconfirmed::Entry* Unconfirmed::find(uint64_t tag) {
  if (tag < first_tag_ || tag - first_tag_ >= entries_.size()) return nullptr;
  return &entries_[tag - first_tag_];
}

void Unconfirmed::mark_returned(uint64_t tag) {
  if (auto* entry = find(tag)) entry->returned = true;
}

void Unconfirmed::settle_entry(Entry& entry, PublishOutcome outcome, const Settle& settle) {
  if (!entry.settled) return;
  if (outcome == PublishOutcome::kConfirmed && entry.returned) outcome = PublishOutcome::kReturned;
  --size_;
  settle({outcome, std::exchange(entry.settled, nullptr), entry.sent_at});
}

void Unconfirmed::settle(uint64_t tag, bool multiple, PublishOutcome outcome,
                         const Settle& settle) {
  if (multiple) {
    while (!entries_.empty() && (tag == 0 || first_tag_ <= tag)) {
      settle_entry(entries_.front(), outcome, settle);
      entries_.pop_front();
      ++first_tag_;
    }
  } else if (auto* entry = find(tag)) {
    settle_entry(*entry, outcome, settle);
  }
  while (!entries_.empty() && !entries_.front().settled) {
    entries_.pop_front();
    ++first_tag_;
  }
}

std::optional<SteadyClock::time_point> Unconfirmed::oldest_sent_at() const {
  // settle() leaves no settled one in front.
  if (entries_.empty()) return std::nullopt;
  return entries_.front().sent_at;
}

void Unconfirmed::lose_all(const Settle& settle) {
  for (auto& entry : entries_) settle_entry(entry, PublishOutcome::kUnknown, settle);
  entries_.clear();
  first_tag_ = 1;
}

}  // namespace postoffice
