#include "broker/embedded/unsettled_deliveries.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "broker/embedded/amqp_error.h"

namespace postoffice::embedded {

namespace {

constexpr size_t kFewPlaces = 64;

bool is_settled(const Delivered& slot) { return slot.entry.message == nullptr; }

}  // namespace

void UnsettledDeliveries::add(Delivered delivered) {
  delivered.tag = next_tag_++;
  slots_.push_back(std::move(delivered));
  ++count_;
}

std::vector<Delivered> UnsettledDeliveries::take(uint64_t tag, bool multiple) {
  if (multiple && tag == 0) return take_all();
  const auto slot = std::ranges::lower_bound(slots_, tag, {}, &Delivered::tag);
  if (slot == slots_.end() || slot->tag != tag || is_settled(*slot)) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "unknown delivery tag " + std::to_string(tag));
  }
  std::vector<Delivered> taken;
  if (multiple) {
    for (; !slots_.empty() && slots_.front().tag <= tag; slots_.pop_front()) {
      if (!is_settled(slots_.front())) taken.push_back(std::move(slots_.front()));
    }
  } else {
    taken.push_back(std::move(*slot));
    *slot = {};
    slot->tag = tag;
    while (!slots_.empty() && is_settled(slots_.front())) slots_.pop_front();
  }
  count_ -= taken.size();
  // One that stays unsettled must not keep the places of all that come after it.
  if (slots_.size() > 2 * count_ + kFewPlaces) std::erase_if(slots_, is_settled);
  return taken;
}

std::vector<Delivered> UnsettledDeliveries::take_all() {
  std::vector<Delivered> taken;
  for (auto& slot : slots_) {
    if (!is_settled(slot)) taken.push_back(std::move(slot));
  }
  slots_.clear();
  count_ = 0;
  return taken;
}

void UnsettledDeliveries::restore(std::vector<Delivered> delivered) {
  std::erase_if(slots_, is_settled);
  const auto present = static_cast<ptrdiff_t>(slots_.size());
  std::ranges::move(delivered, std::back_inserter(slots_));
  const auto restored = slots_.begin() + present;
  std::ranges::sort(restored, slots_.end(), {}, &Delivered::tag);
  std::ranges::inplace_merge(slots_.begin(), restored, slots_.end(), {}, &Delivered::tag);
  count_ = slots_.size();
}

}  // namespace postoffice::embedded
