#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "broker/embedded/field_table.h"
#include "broker/embedded/message.h"

namespace postoffice::embedded {

class Queue;

// A message at its place in one queue: it waits there, or was delivered from there.
struct Entry {
  MessagePtr message;
  uint64_t seq = 0;        // Order in the queue; an offset in a stream.
  int64_t expires_at = 0;  // Unix milliseconds; 0: never.
  uint8_t priority = 0;
  bool redelivered = false;
};

struct Consumer;

// Who takes deliveries for consumers: a channel.
class Receiver {
 public:
  virtual ~Receiver() = default;
  // Prefetch, flow and the connection's unsent bytes allow one more delivery.
  virtual bool can_take(const Consumer& consumer) const = 0;
  // Delivers, and holds the entry unless the consumer acknowledges nothing.
  virtual void deliver(const std::shared_ptr<Consumer>& consumer, Entry entry) = 0;
  // The queue is gone.
  virtual void cancelled(Consumer& consumer) = 0;
};

struct Consumer {
  Receiver* receiver = nullptr;
  std::shared_ptr<Queue> queue;
  std::string tag;
  bool no_ack = false;
  bool exclusive = false;
  int32_t priority = 0;   // The higher ones are served first.
  uint32_t prefetch = 0;  // 0: unlimited.
  uint32_t unsettled = 0;
  uint64_t next_offset = 0;  // Of a stream's.
};

}  // namespace postoffice::embedded
