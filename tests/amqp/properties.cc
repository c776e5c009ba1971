#include "tests/amqp/properties.h"

#include <amqp_framing.h>

#include <stdexcept>

namespace postoffice::amqp_test {

std::string Properties::encode() const {
  amqp_basic_properties_t wire{};
  const Pool pool = make_pool();
  const auto add_text = [&wire](const std::optional<std::string>& from, amqp_bytes_t& to,
                                amqp_flags_t flag) {
    if (!from) return;
    to = bytes(*from);
    wire._flags |= flag;
  };
  const auto add_number = [&wire](const auto& from, auto& to, amqp_flags_t flag) {
    if (!from) return;
    to = *from;
    wire._flags |= flag;
  };
  add_text(content_type, wire.content_type, AMQP_BASIC_CONTENT_TYPE_FLAG);
  add_text(content_encoding, wire.content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG);
  if (headers) {
    wire.headers = to_wire(*headers, *pool);
    wire._flags |= AMQP_BASIC_HEADERS_FLAG;
  }
  add_number(delivery_mode, wire.delivery_mode, AMQP_BASIC_DELIVERY_MODE_FLAG);
  add_number(priority, wire.priority, AMQP_BASIC_PRIORITY_FLAG);
  add_text(correlation_id, wire.correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG);
  add_text(reply_to, wire.reply_to, AMQP_BASIC_REPLY_TO_FLAG);
  add_text(expiration, wire.expiration, AMQP_BASIC_EXPIRATION_FLAG);
  add_text(message_id, wire.message_id, AMQP_BASIC_MESSAGE_ID_FLAG);
  add_number(timestamp, wire.timestamp, AMQP_BASIC_TIMESTAMP_FLAG);
  add_text(type, wire.type, AMQP_BASIC_TYPE_FLAG);
  add_text(user_id, wire.user_id, AMQP_BASIC_USER_ID_FLAG);
  add_text(app_id, wire.app_id, AMQP_BASIC_APP_ID_FLAG);
  add_text(cluster_id, wire.cluster_id, AMQP_BASIC_CLUSTER_ID_FLAG);

  std::string encoded(100'000, '\0');
  const int size = amqp_encode_properties(AMQP_BASIC_CLASS, &wire, bytes(encoded));
  if (size < 0) throw std::runtime_error("properties cannot be encoded");
  encoded.resize(static_cast<size_t>(size));
  return encoded;
}

Properties Properties::decode(std::string_view encoded) {
  const Pool pool = make_pool();
  void* decoded = nullptr;
  if (amqp_decode_properties(AMQP_BASIC_CLASS, pool.get(), bytes(encoded), &decoded) < 0) {
    throw std::runtime_error("properties cannot be decoded");
  }
  const auto& wire = *static_cast<amqp_basic_properties_t*>(decoded);
  Properties result;
  const auto take_text = [&wire](amqp_bytes_t from, std::optional<std::string>& to,
                                 amqp_flags_t flag) {
    if ((wire._flags & flag) != 0) to = to_string(from);
  };
  const auto take_number = [&wire](auto from, auto& to, amqp_flags_t flag) {
    if ((wire._flags & flag) != 0) to = from;
  };
  take_text(wire.content_type, result.content_type, AMQP_BASIC_CONTENT_TYPE_FLAG);
  take_text(wire.content_encoding, result.content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG);
  if ((wire._flags & AMQP_BASIC_HEADERS_FLAG) != 0) result.headers = from_wire(wire.headers);
  take_number(wire.delivery_mode, result.delivery_mode, AMQP_BASIC_DELIVERY_MODE_FLAG);
  take_number(wire.priority, result.priority, AMQP_BASIC_PRIORITY_FLAG);
  take_text(wire.correlation_id, result.correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG);
  take_text(wire.reply_to, result.reply_to, AMQP_BASIC_REPLY_TO_FLAG);
  take_text(wire.expiration, result.expiration, AMQP_BASIC_EXPIRATION_FLAG);
  take_text(wire.message_id, result.message_id, AMQP_BASIC_MESSAGE_ID_FLAG);
  take_number(wire.timestamp, result.timestamp, AMQP_BASIC_TIMESTAMP_FLAG);
  take_text(wire.type, result.type, AMQP_BASIC_TYPE_FLAG);
  take_text(wire.user_id, result.user_id, AMQP_BASIC_USER_ID_FLAG);
  take_text(wire.app_id, result.app_id, AMQP_BASIC_APP_ID_FLAG);
  take_text(wire.cluster_id, result.cluster_id, AMQP_BASIC_CLUSTER_ID_FLAG);
  return result;
}

}  // namespace postoffice::amqp_test
