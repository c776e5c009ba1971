#include "broker/embedded/message_store.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "base/error.h"

namespace postoffice::embedded {
namespace {

// What is moved in one turn: not so much that deliveries wait for it.
constexpr uint64_t kMoveBytes = 1 << 20;
// Segments beyond twice what lives in them.
constexpr uint64_t kSpareSegments = 4;
constexpr Millis kMoveAgain{1000};  // When one of them cannot be read.

}  // namespace

MessageStore::MessageStore(const Options& options, Log::Events events)
    : options_(options), log_(options.log, std::move(events)) {}

void MessageStore::stop() {
  kept_.clear();
  append_settled();
  log_.flush();
  log_.stop();
}

LiveSegment& MessageStore::segment(uint32_t number) {
  auto& segment = segments_[number];
  segment.number = number;
  segment.live_bytes = &live_bytes_;
  return segment;
}

void MessageStore::place(Logged& logged, const Recovered::Place& place) {
  logged.enter_log(segment(place.position.segment), place.position.offset, place.bytes);
}

void MessageStore::append(Message& message) {
  if (failed_) return;
  const std::string head = message.record_head();
  const auto position = log_.append({head, message.content()});
  place(message, {position, static_cast<uint32_t>(head.size() + message.content_bytes())});
}

void MessageStore::append(Logged& logged) {
  if (failed_) return;
  const std::string record = logged.record();
  place(logged, {log_.append({record}), static_cast<uint32_t>(record.size())});
}

void MessageStore::append_record(const std::string& record) {
  if (!failed_) log_.append({record});
}

void MessageStore::settled(const Queue& queue, uint64_t seq) {
  settled_[queue.id()].push_back(seq);
}

void MessageStore::delivered(const Queue& queue) { delivered_[queue.id()] = queue.delivered(); }

void MessageStore::returned(const Queue& queue, uint64_t seq, uint32_t count) {
  if (failed_) return;
  std::string record;
  WireWriter writer(record);
  writer.octet(static_cast<uint8_t>(RecordType::kReturned));
  writer.u64(queue.id()).u64(seq).u32(count);
  log_.append({record});
}

void MessageStore::append_settled() {
  if (failed_) {
    settled_.clear();
    delivered_.clear();
  }
  if (settled_.empty() && delivered_.empty()) return;
  std::string record;
  WireWriter writer(record);
  const auto begin = [&](uint64_t queue, uint64_t delivered, size_t count) {
    writer.octet(static_cast<uint8_t>(RecordType::kSettled)).u64(queue).u64(delivered);
    writer.u32(static_cast<uint32_t>(count));
  };
  for (const auto& [queue, seqs] : settled_) {
    record.clear();
    const auto delivered = delivered_.find(queue);
    begin(queue, delivered != delivered_.end() ? delivered->second : 0, seqs.size());
    if (delivered != delivered_.end()) delivered_.erase(delivered);
    for (const uint64_t seq : seqs) writer.u64(seq);
    log_.append({record});
  }
  for (const auto& [queue, delivered] : delivered_) {
    record.clear();
    begin(queue, delivered, 0);
    log_.append({record});
  }
  settled_.clear();
  delivered_.clear();
}

std::string_view MessageStore::content(const Message& message, std::string& buffer) {
  if (message.has_content()) return message.content();
  buffer = log_.read(message.position());
  const std::string_view record = buffer;
  return record.substr(record.size() - std::min<size_t>(record.size(), message.content_bytes()));
}

void MessageStore::flush() {
  free_memory();
  move_live_records();
  append_settled();
  drop_dead_segments();
  const uint64_t last = turns_.empty() ? durable_ : turns_.back();
  if (log_.appended() > last) turns_.push_back(log_.appended());
  log_.flush();
}

void MessageStore::free_memory() {
  for (const auto& message : kept_) {
    if (failed_ || memory_ <= options_.memory_bytes) break;
    if (message->use_count() == 1) continue;  // Delivered and done.
    if (!message->is_logged()) append(*message);
    message->forget_content();
  }
  kept_.clear();
}

void MessageStore::durable(uint64_t sequence) {
  for (; !turns_.empty() && turns_.front() <= sequence; turns_.pop_front()) {
    durable_ = turns_.front();
  }
  drop_dead_segments();
}

void MessageStore::drop_dead_segments() {
  const uint32_t current = log_.current_segment();
  while (!segments_.empty() && segments_.begin()->first < current &&
         segments_.begin()->second.records.empty()) {
    segments_.erase(segments_.begin());
  }
  const uint32_t oldest = segments_.empty() ? current : std::min(current, segments_.begin()->first);
  if (oldest > dead_before_) {
    dead_before_ = oldest;
    dead_needs_ = replaced_until_;
  }
  // What replaced the last that lived there is on disk first.
  if (dead_before_ > log_.oldest_segment() && durable_ >= dead_needs_) {
    log_.drop_before(dead_before_);
  }
}

void MessageStore::move_live_records() {
  if (failed_ || dead_before_ > log_.oldest_segment()) return;  // There is room to come already.
  const uint64_t spare = kSpareSegments * options_.log.segment_bytes;
  if (segments_.empty() || log_.bytes() <= 2 * live_bytes_ + spare) return;
  auto& oldest = segments_.begin()->second;
  if (oldest.number >= log_.current_segment() || SteadyClock::now() < move_again_at_) return;
  uint64_t moved = 0;
  while (moved < kMoveBytes && !oldest.records.empty()) {
    auto& logged = oldest.records.front();
    const size_t before = log_.unwritten_bytes();
    try {
      move(logged);
    } catch (const LogCorrupt& error) {
      spdlog::error("broker: a message is lost: {}", error.what());
      // Where it cannot be read either: no segment is kept for it.
      place(logged, {{log_.current_segment(), 0}, 0});
    } catch (const Transient&) {
      move_again_at_ = SteadyClock::now() + kMoveAgain;
      return;
    }
    moved += log_.unwritten_bytes() - before;
    replaced();
  }
}

void MessageStore::move(Logged& logged) {
  auto* const message = dynamic_cast<Message*>(&logged);
  if (message == nullptr) {
    append(logged);
    return;
  }
  std::string buffer;
  const std::string head = message->record_head();
  const auto bytes = content(*message, buffer);
  const auto position = log_.append({head, bytes});
  place(*message, {position, static_cast<uint32_t>(head.size() + bytes.size())});
  // Nor does the record that told of its delivery stay.
  message->each_place([this](const Message::Place& place) {
    if (place.seq <= place.queue->delivered()) delivered(*place.queue);
  });
}

}  // namespace postoffice::embedded
