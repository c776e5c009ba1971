#include "broker/embedded/stream.h"

#include <algorithm>
#include <limits>

namespace postoffice::embedded {

bool Stream::accepts(uint32_t /*body_bytes*/) const { return !is_closed(); }

void Stream::put(const MessagePtr& message, std::optional<Millis> /*expiration*/,
                 uint8_t /*priority*/, UnixTime now) {
  message->add_place(*this, next_offset_);
  bytes_ += message->body_bytes();
  items_.push_back({next_offset_++, message, to_unix_millis(now)});
  host_.wake(*this);
}

void Stream::restore(Entry entry, uint32_t /*returns*/) {
  entry.message->add_place(*this, entry.seq);
  bytes_ += entry.message->body_bytes();
  items_.push_back({entry.seq, std::move(entry.message), entry.expires_at});
}

void Stream::restored(uint64_t delivered, uint64_t last_seq) {
  std::ranges::sort(items_, {}, &Item::offset);
  next_offset_ = std::max(delivered, items_.empty() ? 0 : items_.back().offset + 1);
  if (last_seq > 0) next_offset_ = std::max(next_offset_, last_seq + 1);
  host_.wake(*this);
}

void Stream::pump() {
  if (is_closed() || is_paused()) return;
  drop_old();
  for (const auto& consumer : std::vector(consumers_)) {
    auto item = std::ranges::lower_bound(items_, consumer->next_offset, {}, &Item::offset);
    for (; item != items_.end() && consumer->receiver->can_take(*consumer); ++item) {
      consumer->next_offset = item->offset + 1;
      consumer->receiver->deliver(consumer, {item->message, item->offset, 0, 0, false});
      if (is_paused()) {
        consumer->next_offset = item->offset;
        return;
      }
    }
  }
}

void Stream::settle(const Entry& /*entry*/) { host_.wake(*this); }
void Stream::requeue(Entry /*entry*/) { host_.wake(*this); }
void Stream::put_back(Entry /*entry*/) {}
void Stream::reject(const Entry& /*entry*/, DeathReason /*reason*/) { host_.wake(*this); }

void Stream::close() {
  for (const auto& item : items_) item.message->remove_place(*this, item.offset);
  items_.clear();
  Queue::close();
}

void Stream::drop_old() {
  const auto& limits = arguments();
  const int64_t oldest = limits.max_age ? to_unix_millis(unix_now() - *limits.max_age) : 0;
  // The last one stays, as a stream's segments do.
  while (items_.size() > 1 && ((limits.max_length_bytes && bytes_ > *limits.max_length_bytes) ||
                               (limits.max_age && items_.front().published_at < oldest))) {
    const Entry entry{items_.front().message, items_.front().offset, 0, 0, false};
    bytes_ -= entry.message->body_bytes();
    items_.pop_front();
    drop(entry);
  }
}

uint64_t Stream::offset_at(int64_t published_at) const {
  return offset_of(std::ranges::lower_bound(items_, published_at, {}, &Item::published_at));
}

uint64_t Stream::start_of(const FieldTable& arguments) const {
  const auto* const offset = arguments.find("x-stream-offset");
  if (offset == nullptr) return next_offset_;
  if (offset->type == 'T') {
    constexpr int64_t kMostSeconds = std::numeric_limits<int64_t>::max() / 1000;
    const int64_t seconds = std::get<int64_t>(offset->value);
    return offset_at(std::clamp(seconds, -kMostSeconds, kMostSeconds) * 1000);
  }
  if (const auto number = offset->integer(); number && *number >= 0) {
    return std::max(static_cast<uint64_t>(*number), first_offset());
  }
  if (const auto* const text = offset->text()) {
    if (*text == "first") return first_offset();
    if (*text == "next") return next_offset_;
    if (*text == "last") return items_.empty() ? next_offset_ : items_.back().offset;
    if (const auto age = parse_age(*text)) return offset_at(to_unix_millis(unix_now() - *age));
  }
  throw ChannelError(ReplyCode::kPreconditionFailed,
                     "x-stream-offset must be first, last, next, an offset, a timestamp or an age "
                     "such as 1h");
}

}  // namespace postoffice::embedded
