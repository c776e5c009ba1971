#include "broker/embedded/message.h"

#include <algorithm>
#include <cstring>

#include "broker/embedded/queue.h"
#include "broker/embedded/records.h"

namespace postoffice::embedded {

Content Content::read(std::string_view bytes) {
  WireReader reader(bytes);
  Content content;
  content.published_at = from_unix_millis(static_cast<int64_t>(reader.u64()));
  content.exchange = reader.short_string();
  content.routing_key = reader.short_string();
  content.properties = reader.long_string();
  content.body = reader.rest();
  return content;
}

size_t Content::bytes() const {
  return 8 + 1 + exchange.size() + 1 + routing_key.size() + 4 + properties.size() + body.size();
}

Message::Message(const Content& content, bool persistent, uint64_t& memory)
    : content_bytes_(static_cast<uint32_t>(content.bytes())),
      body_bytes_(static_cast<uint32_t>(content.body.size())),
      persistent_(persistent) {
  content_ = std::make_unique_for_overwrite<char[]>(kContentAt + content_bytes_);
  uint64_t* const counter = &memory;
  std::memcpy(content_.get(), &counter, sizeof(counter));
  char* to = content_.get() + kContentAt;
  const auto number = [&to](uint64_t value, int count) {
    for (int i = count - 1; i >= 0; --i) *to++ = static_cast<char>(value >> 8 * i);
  };
  const auto bytes = [&to](std::string_view text) { to = std::copy(text.begin(), text.end(), to); };
  number(static_cast<uint64_t>(to_unix_millis(content.published_at)), 8);
  number(content.exchange.size(), 1);
  bytes(content.exchange);
  number(content.routing_key.size(), 1);
  bytes(content.routing_key);
  number(content.properties.size(), 4);
  bytes(content.properties);
  bytes(content.body);
  memory += content_bytes_;
}

Message::Message(uint32_t content_bytes, uint32_t body_bytes, bool persistent)
    : content_bytes_(content_bytes), body_bytes_(body_bytes), persistent_(persistent) {}

void Message::forget_content() {
  if (!content_) return;
  uint64_t* memory = nullptr;
  std::memcpy(&memory, content_.get(), sizeof(memory));
  *memory -= content_bytes_;
  content_.reset();
}

void Message::add_place(Queue& queue, uint64_t seq) {
  if (place_.queue == nullptr) {
    place_ = {&queue, seq};
    return;
  }
  if (!more_places_) more_places_ = std::make_unique<std::vector<Place>>();
  more_places_->push_back({&queue, seq});
}

void Message::remove_place(const Queue& queue, uint64_t seq) {
  if (place_.queue == &queue && place_.seq == seq) {
    place_ = {};
    if (more_places_ && !more_places_->empty()) {
      place_ = more_places_->back();
      more_places_->pop_back();
    }
  } else if (more_places_) {
    std::erase_if(*more_places_,
                  [&](const Place& place) { return place.queue == &queue && place.seq == seq; });
  }
}

std::string Message::record_head() const {
  std::string out;
  WireWriter writer(out);
  const bool lives_on = persistent_ && has_places();
  writer.octet(static_cast<uint8_t>(lives_on ? RecordType::kMessage : RecordType::kTransient));
  if (!lives_on) return out;
  writer.u32(static_cast<uint32_t>(1 + (more_places_ ? more_places_->size() : 0)));
  each_place([&writer](const Place& place) {
    writer.u64(place.queue->id()).u64(place.seq).u32(place.queue->return_count(place.seq));
  });
  return out;
}

std::string Message::record() const { return record_head() + std::string(content()); }

}  // namespace postoffice::embedded
