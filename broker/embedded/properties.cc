#include "broker/embedded/properties.h"

#include <charconv>

namespace postoffice::embedded {
namespace {

constexpr uint16_t kMoreFlags = 1;

}  // namespace

Properties Properties::read(std::string_view bytes) {
  WireReader reader(bytes);
  const uint16_t flags = reader.u16();
  // The basic class has 14 properties, so a second word of flags can name none.
  if ((flags & kMoreFlags) != 0 && reader.u16() != 0) {
    throw ConnectionError(ReplyCode::kFrameError, "property flags name unknown properties");
  }
  Properties properties;
  const auto text = [&](int flag, std::optional<std::string_view>& property) {
    if ((flags & flag) != 0) property = reader.short_string();
  };
  text(AMQP_BASIC_CONTENT_TYPE_FLAG, properties.content_type);
  text(AMQP_BASIC_CONTENT_ENCODING_FLAG, properties.content_encoding);
  if ((flags & AMQP_BASIC_HEADERS_FLAG) != 0) properties.headers = FieldTable::skip(reader);
  if ((flags & AMQP_BASIC_DELIVERY_MODE_FLAG) != 0) properties.delivery_mode = reader.octet();
  if ((flags & AMQP_BASIC_PRIORITY_FLAG) != 0) properties.priority = reader.octet();
  text(AMQP_BASIC_CORRELATION_ID_FLAG, properties.correlation_id);
  text(AMQP_BASIC_REPLY_TO_FLAG, properties.reply_to);
  text(AMQP_BASIC_EXPIRATION_FLAG, properties.expiration);
  text(AMQP_BASIC_MESSAGE_ID_FLAG, properties.message_id);
  if ((flags & AMQP_BASIC_TIMESTAMP_FLAG) != 0) properties.timestamp = reader.u64();
  text(AMQP_BASIC_TYPE_FLAG, properties.type);
  text(AMQP_BASIC_USER_ID_FLAG, properties.user_id);
  text(AMQP_BASIC_APP_ID_FLAG, properties.app_id);
  text(AMQP_BASIC_CLUSTER_ID_FLAG, properties.cluster_id);
  if (!reader.at_end()) {
    throw ConnectionError(ReplyCode::kFrameError, "bytes follow the last property");
  }
  return properties;
}

std::string Properties::write() const {
  std::string out;
  WireWriter writer(out);
  uint16_t flags = 0;
  writer.u16(0);
  const auto add = [&flags](int flag) { flags = static_cast<uint16_t>(flags | flag); };
  const auto text = [&](int flag, const std::optional<std::string_view>& property) {
    if (!property) return;
    add(flag);
    writer.short_string(*property);
  };
  text(AMQP_BASIC_CONTENT_TYPE_FLAG, content_type);
  text(AMQP_BASIC_CONTENT_ENCODING_FLAG, content_encoding);
  if (headers) {
    add(AMQP_BASIC_HEADERS_FLAG);
    writer.bytes(*headers);
  }
  if (delivery_mode) {
    add(AMQP_BASIC_DELIVERY_MODE_FLAG);
    writer.octet(*delivery_mode);
  }
  if (priority) {
    add(AMQP_BASIC_PRIORITY_FLAG);
    writer.octet(*priority);
  }
  text(AMQP_BASIC_CORRELATION_ID_FLAG, correlation_id);
  text(AMQP_BASIC_REPLY_TO_FLAG, reply_to);
  text(AMQP_BASIC_EXPIRATION_FLAG, expiration);
  text(AMQP_BASIC_MESSAGE_ID_FLAG, message_id);
  if (timestamp) {
    add(AMQP_BASIC_TIMESTAMP_FLAG);
    writer.u64(*timestamp);
  }
  text(AMQP_BASIC_TYPE_FLAG, type);
  text(AMQP_BASIC_USER_ID_FLAG, user_id);
  text(AMQP_BASIC_APP_ID_FLAG, app_id);
  text(AMQP_BASIC_CLUSTER_ID_FLAG, cluster_id);
  out[0] = static_cast<char>(flags >> 8);
  out[1] = static_cast<char>(flags);
  return out;
}

FieldTable Properties::header_table() const {
  if (!headers) return {};
  WireReader reader(*headers);
  return FieldTable::read(reader);
}

Millis expiration_of(std::string_view text) {
  uint64_t millis = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), millis);
  if (error != std::errc() || end != text.data() + text.size() || millis > 0xFFFFFFFF) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "invalid expiration '" + std::string(text) + "': it must be milliseconds");
  }
  return Millis(millis);
}

}  // namespace postoffice::embedded
