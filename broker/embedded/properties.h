#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "broker/embedded/field_table.h"

namespace postoffice::embedded {

// The basic class's properties (AMQP 0-9-1 section 1.8.1), as views into the property flags and
// list they were read from.
struct Properties {
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> content_encoding;
  std::optional<std::string_view> headers;  // The table with its length, checked.
  std::optional<uint8_t> delivery_mode;
  std::optional<uint8_t> priority;
  std::optional<std::string_view> correlation_id;
  std::optional<std::string_view> reply_to;
  std::optional<std::string_view> expiration;
  std::optional<std::string_view> message_id;
  std::optional<uint64_t> timestamp;
  std::optional<std::string_view> type;
  std::optional<std::string_view> user_id;
  std::optional<std::string_view> app_id;
  std::optional<std::string_view> cluster_id;

  // `bytes` are the property flags and list, and outlive this. Throws ConnectionError (501, 502).
  static Properties read(std::string_view bytes);
  std::string write() const;

  FieldTable header_table() const;  // Empty when there are no headers.
};

// A message's expiration: whole milliseconds as text. Throws ChannelError (406).
Millis expiration_of(std::string_view text);

}  // namespace postoffice::embedded
