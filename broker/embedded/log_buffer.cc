#include "broker/embedded/log_buffer.h"

#include <algorithm>

namespace postoffice::embedded {
namespace {

constexpr size_t kChunkBytes = 256 << 10;

}  // namespace

char* LogBuffer::add(LogPosition position, size_t bytes, uint64_t sequence) {
  if (chunks_.empty() || chunks_.back().position.segment != position.segment ||
      chunks_.back().capacity - chunks_.back().used < bytes) {
    if (!chunks_.empty() && chunks_.back().used == 0) chunks_.pop_back();
    const size_t capacity = std::max(kChunkBytes, bytes);
    chunks_.push_back({.position = position,
                       .capacity = capacity,
                       .bytes = std::make_unique_for_overwrite<char[]>(capacity)});
  }
  Chunk& chunk = chunks_.back();
  char* const to = chunk.bytes.get() + chunk.used;
  chunk.used += bytes;
  chunk.sequence = sequence;
  return to;
}

std::vector<LogSpan> LogBuffer::take() {
  auto first = chunks_.end();
  while (first != chunks_.begin() && std::prev(first)->taken < std::prev(first)->used) --first;
  std::vector<LogSpan> spans;
  for (; first != chunks_.end(); ++first) {
    const auto offset = first->position.offset + static_cast<uint32_t>(first->taken);
    spans.push_back({{first->position.segment, offset},
                     {first->bytes.get() + first->taken, first->used - first->taken},
                     first->sequence});
    first->taken = first->used;
  }
  return spans;
}

void LogBuffer::release(uint64_t sequence) {
  // The last chunk may have room for more.
  while (chunks_.size() > 1 && chunks_.front().sequence <= sequence) chunks_.pop_front();
  if (chunks_.size() != 1) return;
  Chunk& last = chunks_.front();
  if (last.sequence > sequence) return;
  if (last.capacity > kChunkBytes) {
    chunks_.clear();
    return;
  }
  // Written from its beginning again: no new memory for each turn of the event loop.
  last.position.offset += static_cast<uint32_t>(last.used);
  last.used = 0;
  last.taken = 0;
}

std::optional<std::string_view> LogBuffer::find(LogPosition position) const {
  const auto after = std::partition_point(chunks_.begin(), chunks_.end(), [&](const Chunk& chunk) {
    return chunk.position <= position;
  });
  if (after == chunks_.begin()) return std::nullopt;
  const Chunk& chunk = *std::prev(after);
  const size_t skip = position.offset - chunk.position.offset;
  if (chunk.position.segment != position.segment || skip >= chunk.used) return std::nullopt;
  return std::string_view(chunk.bytes.get() + skip, chunk.used - skip);
}

std::optional<LogPosition> LogBuffer::begin() const {
  if (chunks_.empty() || chunks_.front().used == 0) return std::nullopt;
  return chunks_.front().position;
}

}  // namespace postoffice::embedded
