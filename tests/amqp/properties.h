#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/amqp/table.h"

namespace postoffice::amqp_test {

// The basic class's properties (AMQP 0-9-1 section 1.8.1).
struct Properties {
  std::optional<std::string> content_type = {};
  std::optional<std::string> content_encoding = {};
  std::optional<Table> headers = {};
  std::optional<uint8_t> delivery_mode = {};
  std::optional<uint8_t> priority = {};
  std::optional<std::string> correlation_id = {};
  std::optional<std::string> reply_to = {};
  std::optional<std::string> expiration = {};
  std::optional<std::string> message_id = {};
  std::optional<uint64_t> timestamp = {};
  std::optional<std::string> type = {};
  std::optional<std::string> user_id = {};
  std::optional<std::string> app_id = {};
  std::optional<std::string> cluster_id = {};

  bool operator==(const Properties& other) const = default;

  // Flags and list, as they stand in a content header after the body's size.
  std::string encode() const;
  static Properties decode(std::string_view encoded);
};

// delivery-mode 2.
inline Properties persistent() { return {.delivery_mode = 2}; }

}  // namespace postoffice::amqp_test
