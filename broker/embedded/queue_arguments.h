#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "broker/embedded/field_table.h"

namespace postoffice::embedded {

// What a queue's x-arguments ask for (https://www.rabbitmq.com/docs/queues#optional-arguments).
struct QueueArguments {
  enum class Type { kClassic, kQuorum, kStream };
  enum class Overflow { kDropHead, kRejectPublish };

  Type type = Type::kClassic;
  std::optional<Millis> message_ttl;
  std::optional<Millis> expires;
  std::optional<uint64_t> max_length;
  std::optional<uint64_t> max_length_bytes;
  Overflow overflow = Overflow::kDropHead;
  std::optional<std::string> dead_letter_exchange;
  std::optional<std::string> dead_letter_routing_key;
  bool dead_letter_at_least_once = false;
  std::optional<uint8_t> max_priority;
  bool single_active_consumer = false;
  std::optional<uint64_t> delivery_limit;
  std::optional<Millis> max_age;  // Of a stream's messages.

  // Unknown arguments are ignored. Throws ChannelError (406) when a value is not allowed, or not
  // for that type of queue.
  static QueueArguments read(const FieldTable& arguments, bool durable, bool exclusive,
                             bool auto_delete);
};

// "7D", "12h": a number and a unit Y, M, D, h, m or s.
std::optional<Millis> parse_age(const std::string& text);

}  // namespace postoffice::embedded
