#pragma once

#include <algorithm>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "broker/embedded/logged.h"
#include "broker/embedded/properties.h"

namespace postoffice::embedded {

class Queue;

// What is stored of a message and delivered of it. The views outlive nothing but what they point
// into.
struct Content {
  UnixTime published_at;
  std::string_view exchange;
  std::string_view routing_key;
  std::string_view properties;  // Property flags and list.
  std::string_view body;

  // Layout: docs/embedded-log.md, "What the records hold".
  static Content read(std::string_view bytes);
  size_t bytes() const;
};

// A message that waits in queues or is delivered and not yet acknowledged. Its content is in
// memory, in the log, or in both. Used on the broker's thread only.
class Message final : public Logged,
                      public boost::intrusive_ref_counter<Message, boost::thread_unsafe_counter> {
 public:
  // A place in a durable queue, which the record of a persistent message names.
  struct Place {
    Queue* queue = nullptr;
    uint64_t seq = 0;
  };

  // `memory` counts the bytes of all contents that are in memory, and outlives this.
  Message(const Content& content, bool persistent, uint64_t& memory);
  // One whose content, of so many bytes, is in the log.
  Message(uint32_t content_bytes, uint32_t body_bytes, bool persistent);
  ~Message() override { forget_content(); }

  bool is_persistent() const { return persistent_; }
  uint32_t content_bytes() const { return content_bytes_; }
  uint32_t body_bytes() const { return body_bytes_; }
  bool has_content() const { return content_ != nullptr; }
  // REQUIRES has_content().
  std::string_view content() const { return {content_.get() + kContentAt, content_bytes_}; }
  // REQUIRES is_logged().
  void forget_content();

  void add_place(Queue& queue, uint64_t seq);
  void remove_place(const Queue& queue, uint64_t seq);
  bool has_places() const { return place_.queue != nullptr; }
  void each_place(auto&& visit) const {
    if (has_places()) visit(place_);
    if (more_places_) std::ranges::for_each(*more_places_, visit);
  }

  std::string record() const override;
  // Everything of the record but the content, which follows it.
  std::string record_head() const;

 private:
  static constexpr size_t kContentAt = sizeof(uint64_t*);

  // Each costs every message that waits: in this order there are no gaps.
  uint32_t content_bytes_ = 0;
  Place place_;
  std::unique_ptr<std::vector<Place>> more_places_;
  std::unique_ptr<char[]> content_;  // In memory: a pointer to their count, then the content.
  uint32_t body_bytes_ = 0;
  bool persistent_ = false;
};
static_assert(sizeof(Message) <= 88);

using MessagePtr = boost::intrusive_ptr<Message>;

}  // namespace postoffice::embedded
