#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "broker/outbox.h"

namespace postoffice {

// An Outbox in memory that refuses, stalls or cannot be read when the test says so.
class MemoryOutbox final : public Outbox {
 public:
  void refuse(std::optional<OutboxRefusal> refusal) {
    const std::lock_guard lock(mutex_);
    refusal_ = refusal;
  }
  void make_unreadable(bool unreadable) {
    const std::lock_guard lock(mutex_);
    unreadable_ = unreadable;
  }
  // While stalled, append() does not return.
  void stall(bool stalled) {
    const std::lock_guard lock(mutex_);
    stalled_ = stalled;
    changed_.notify_all();
  }
  bool wait_for_stalled_append() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return appending_; });
  }
  bool wait_for_entries(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return entries_.size() == count; });
  }
  std::vector<std::string> bodies() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> bodies;
    for (const auto& [id, entry] : entries_) bodies.push_back(entry.body);
    return bodies;
  }
  size_t transactions() const {
    const std::lock_guard lock(mutex_);
    return transactions_;
  }
  size_t reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

  std::optional<OutboxRefusal> append(std::span<OutboxEntry> entries,
                                      std::span<const uint64_t> removals) override {
    std::unique_lock lock(mutex_);
    appending_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !stalled_; });
    appending_ = false;
    for (const uint64_t id : removals) entries_.erase(id);
    changed_.notify_all();
    if (entries.empty()) return std::nullopt;
    if (refusal_) return refusal_;
    ++transactions_;
    for (auto& entry : entries) {
      entry.id = next_id_++;
      entries_[entry.id] = entry;
    }
    return std::nullopt;
  }

  std::vector<OutboxEntry> read(uint64_t after, size_t limit) override {
    const std::lock_guard lock(mutex_);
    ++reads_;
    if (unreadable_) throw Transient("scripted");
    std::vector<OutboxEntry> read;
    for (auto it = entries_.upper_bound(after); it != entries_.end() && read.size() < limit; ++it) {
      read.push_back(it->second);
    }
    return read;
  }

  void remove(std::span<const uint64_t> ids) override {
    const std::lock_guard lock(mutex_);
    for (const uint64_t id : ids) entries_.erase(id);
    changed_.notify_all();
  }

  OutboxDepth depth() const override {
    const std::lock_guard lock(mutex_);
    OutboxDepth depth;
    for (const auto& [id, entry] : entries_) {
      depth.entries += 1;
      depth.callbacks += entry.callbacks;
      depth.bytes += entry.body.size();
      depth.oldest_received_at = std::min(
          depth.oldest_received_at.value_or(entry.oldest_received_at), entry.oldest_received_at);
    }
    return depth;
  }

  std::optional<OutboxRefusal> refusal() const override {
    const std::lock_guard lock(mutex_);
    return refusal_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<OutboxRefusal> refusal_;
  bool unreadable_ = false;
  bool stalled_ = false;
  bool appending_ = false;
  uint64_t next_id_ = 1;
  size_t transactions_ = 0;
  size_t reads_ = 0;
  std::map<uint64_t, OutboxEntry> entries_;
};

}  // namespace postoffice
