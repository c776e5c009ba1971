#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "broker/embedded/queue.h"

namespace postoffice::embedded {

// An append-only queue: reading removes nothing, retention does (x-max-age, x-max-length-bytes).
// Every consumer reads from the offset it asked for (https://www.rabbitmq.com/docs/streams).
class Stream final : public Queue {
 public:
  using Queue::Queue;

  uint64_t ready() const override { return items_.size(); }
  bool accepts(uint32_t body_bytes) const override;
  void put(const MessagePtr& message, std::optional<Millis> expiration, uint8_t priority,
           UnixTime now) override;
  void restore(Entry entry, uint32_t returns) override;
  void restored(uint64_t delivered, uint64_t last_seq) override;
  void pump() override;
  std::optional<Entry> take() override { return std::nullopt; }
  // Nothing but credit for the consumer that had it.
  void settle(const Entry& entry) override;
  void requeue(Entry entry) override;
  void reject(const Entry& entry, DeathReason reason) override;
  uint64_t purge() override { return 0; }
  void close() override;
  uint64_t delivered() const override { return next_offset_; }

  // Where a consumer with these arguments starts: x-stream-offset first, last, next, a number, a
  // timestamp, or an age such as "1h". Throws ChannelError (406).
  uint64_t start_of(const FieldTable& arguments) const;

 private:
  struct Item {
    uint64_t offset = 0;  // They rise, with gaps where a message was lost.
    MessagePtr message;
    int64_t published_at = 0;  // Unix milliseconds.
  };

  // It is still there.
  void put_back(Entry entry) override;
  uint64_t first_offset() const { return offset_of(items_.begin()); }
  uint64_t offset_at(int64_t published_at) const;
  uint64_t offset_of(const std::deque<Item>::const_iterator& item) const {
    return item == items_.end() ? next_offset_ : item->offset;
  }
  void drop_old();

  std::deque<Item> items_;
  uint64_t next_offset_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace postoffice::embedded
