#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/embedded/log.h"
#include "broker/embedded/message.h"
#include "broker/embedded/queue.h"
#include "broker/embedded/records.h"

namespace postoffice::embedded {

// What the log held: everything durable that lived when the broker ended.
struct Recovered {
  struct Place {
    LogPosition position;
    uint32_t bytes = 0;
  };
  struct Waiting {
    uint64_t seq = 0;
    MessagePtr message;  // None: it was settled.
    int64_t published_at = 0;
    int64_t expiration_ms = -1;  // The message's own; -1: none.
    uint32_t returns = 0;
    uint8_t priority = 0;
  };
  struct OfQueue {
    std::optional<QueueRecord> properties;  // None: it was deleted.
    Place place;
    std::vector<Waiting> messages;  // By seq.
    uint64_t delivered = 0;
    uint64_t last_seq = 0;  // The highest that was ever given, as far as is known.
  };

  std::map<std::pair<std::string, std::string>, std::pair<ExchangeRecord, Place>> exchanges;
  std::map<std::string, std::pair<BindingRecord, Place>> bindings;
  std::unordered_map<uint64_t, OfQueue> queues;
  // The highest that the log names. No queue gets it again: records of a deleted one may still be
  // there.
  uint64_t last_queue_id = 0;
};

// Keeps messages and topology in the log, and messages that are too many for memory. Used on the
// broker's thread only.
class MessageStore {
 public:
  struct Options {
    Log::Options log;
    uint64_t memory_bytes = 16 << 20;  // Of message contents, before they are on disk only.
  };

  MessageStore(const Options& options, Log::Events events);

  // Before start().
  Recovered recover();
  void place(Logged& logged, const Recovered::Place& place);
  void start() { log_.start(); }
  // Writes what was appended.
  void stop();

  // Counts the contents that are in memory: for new messages.
  uint64_t& memory() { return memory_; }

  // Nothing once the log has failed.
  void append(Message& message);
  void append(Logged& logged);
  void append_record(const std::string& record);
  void settled(const Queue& queue, uint64_t seq);
  void delivered(const Queue& queue);
  void returned(const Queue& queue, uint64_t seq, uint32_t count);
  // It stays in memory as long as there is room for it.
  void keep(MessagePtr message) { kept_.push_back(std::move(message)); }

  // The content; `buffer` holds it when it had to be read. Throws LogCorrupt, Transient.
  std::string_view content(const Message& message, std::string& buffer);

  // What was appended last replaces something that is settled now or soon: the segment of that is
  // kept until the replacement is on disk.
  void replaced() { replaced_until_ = log_.appended(); }
  // Appends what was settled since the last time.
  void append_settled();
  // Ends a turn: what was settled and appended is on its way to disk.
  void flush();
  // What was appended so far is on disk when the log reports this number.
  uint64_t appended() const { return log_.appended(); }
  // The log reports this.
  void durable(uint64_t sequence);
  // What is on disk, in whole turns: with a message also what was settled before it came, which
  // stands behind it in the log.
  uint64_t durable() const { return durable_; }
  bool is_durable(uint64_t sequence) const { return sequence <= durable_; }
  // The log takes nothing any more: nor does it get anything, since it would keep that in memory.
  void fail() { failed_ = true; }
  bool has_failed() const { return failed_; }
  // Appended and not on disk.
  size_t unwritten_bytes() const { return log_.unwritten_bytes(); }
  uint64_t log_bytes() const { return log_.bytes(); }

 private:
  void free_memory();
  void drop_dead_segments();
  void move_live_records();
  void move(Logged& logged);
  LiveSegment& segment(uint32_t number);

  const Options options_;
  Log log_;
  uint64_t memory_ = 0;
  uint64_t live_bytes_ = 0;
  std::map<uint32_t, LiveSegment> segments_;
  std::unordered_map<uint64_t, std::vector<uint64_t>> settled_;  // Since the last flush().
  std::unordered_map<uint64_t, uint64_t> delivered_;             // Likewise; by queue.
  std::vector<MessagePtr> kept_;
  uint64_t replaced_until_ = 0;  // The sequence of the last record that replaced another.
  uint32_t dead_before_ = 0;     // Nothing lives in segments before that one,
  uint64_t dead_needs_ = 0;      // once the log is durable up to here.
  std::deque<uint64_t> turns_;   // The last record of each that is not durable.
  uint64_t durable_ = 0;
  bool failed_ = false;
  SteadyClock::time_point move_again_at_{};
};

}  // namespace postoffice::embedded
