#include "tests/amqp/methods.h"

#include <algorithm>
#include <stdexcept>

namespace postoffice::amqp_test {
namespace {

template <typename Wire>
Method encode(amqp_method_number_t id, Wire wire) {
  std::string arguments(200'000, '\0');
  const int size = amqp_encode_method(id, &wire, bytes(arguments));
  if (size < 0) throw std::runtime_error(name_of(id) + " cannot be encoded");
  return {id, arguments.substr(0, static_cast<size_t>(size))};
}

amqp_boolean_t bit(bool value) { return value ? 1 : 0; }

}  // namespace

Method start_ok(const Table& client_properties, const std::string& mechanism,
                const std::string& response) {
  const Pool pool = make_pool();
  return encode(AMQP_CONNECTION_START_OK_METHOD,
                amqp_connection_start_ok_t{to_wire(client_properties, *pool), bytes(mechanism),
                                           bytes(response), bytes("en_US")});
}

Method tune_ok(uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat) {
  return encode(AMQP_CONNECTION_TUNE_OK_METHOD,
                amqp_connection_tune_ok_t{channel_max, frame_max, heartbeat});
}

Method connection_open(const std::string& vhost) {
  return encode(AMQP_CONNECTION_OPEN_METHOD,
                amqp_connection_open_t{bytes(vhost), amqp_empty_bytes, 0});
}

Method connection_close() {
  return encode(AMQP_CONNECTION_CLOSE_METHOD, amqp_connection_close_t{200, bytes("bye"), 0, 0});
}

Method connection_close_ok() {
  return encode(AMQP_CONNECTION_CLOSE_OK_METHOD, amqp_connection_close_ok_t{});
}

Method channel_open() {
  return encode(AMQP_CHANNEL_OPEN_METHOD, amqp_channel_open_t{amqp_empty_bytes});
}

Method channel_flow(bool active) {
  return encode(AMQP_CHANNEL_FLOW_METHOD, amqp_channel_flow_t{bit(active)});
}

Method channel_close() {
  return encode(AMQP_CHANNEL_CLOSE_METHOD, amqp_channel_close_t{200, bytes("bye"), 0, 0});
}

Method channel_close_ok() {
  return encode(AMQP_CHANNEL_CLOSE_OK_METHOD, amqp_channel_close_ok_t{});
}

Method exchange_declare(const std::string& name, const std::string& type,
                        const ExchangeOptions& options) {
  const Pool pool = make_pool();
  return encode(
      AMQP_EXCHANGE_DECLARE_METHOD,
      amqp_exchange_declare_t{0, bytes(name), bytes(type), bit(options.passive),
                              bit(options.durable), bit(options.auto_delete), bit(options.internal),
                              bit(options.nowait), to_wire(options.arguments, *pool)});
}

Method exchange_delete(const std::string& name, const DeleteOptions& options) {
  return encode(AMQP_EXCHANGE_DELETE_METHOD,
                amqp_exchange_delete_t{0, bytes(name), bit(options.if_unused), 0});
}

Method exchange_bind(const std::string& destination, const std::string& source,
                     const std::string& key, const Table& arguments) {
  const Pool pool = make_pool();
  return encode(AMQP_EXCHANGE_BIND_METHOD,
                amqp_exchange_bind_t{0, bytes(destination), bytes(source), bytes(key), 0,
                                     to_wire(arguments, *pool)});
}

Method exchange_unbind(const std::string& destination, const std::string& source,
                       const std::string& key, const Table& arguments) {
  const Pool pool = make_pool();
  return encode(AMQP_EXCHANGE_UNBIND_METHOD,
                amqp_exchange_unbind_t{0, bytes(destination), bytes(source), bytes(key), 0,
                                       to_wire(arguments, *pool)});
}

Method queue_declare(const std::string& name, const QueueOptions& options) {
  const Pool pool = make_pool();
  return encode(AMQP_QUEUE_DECLARE_METHOD,
                amqp_queue_declare_t{0, bytes(name), bit(options.passive), bit(options.durable),
                                     bit(options.exclusive), bit(options.auto_delete),
                                     bit(options.nowait), to_wire(options.arguments, *pool)});
}

Method queue_bind(const std::string& queue, const std::string& exchange, const std::string& key,
                  const Table& arguments) {
  const Pool pool = make_pool();
  return encode(AMQP_QUEUE_BIND_METHOD,
                amqp_queue_bind_t{0, bytes(queue), bytes(exchange), bytes(key), 0,
                                  to_wire(arguments, *pool)});
}

Method queue_unbind(const std::string& queue, const std::string& exchange, const std::string& key,
                    const Table& arguments) {
  const Pool pool = make_pool();
  return encode(
      AMQP_QUEUE_UNBIND_METHOD,
      amqp_queue_unbind_t{0, bytes(queue), bytes(exchange), bytes(key), to_wire(arguments, *pool)});
}

Method queue_purge(const std::string& name) {
  return encode(AMQP_QUEUE_PURGE_METHOD, amqp_queue_purge_t{0, bytes(name), 0});
}

Method queue_delete(const std::string& name, const DeleteOptions& options) {
  return encode(
      AMQP_QUEUE_DELETE_METHOD,
      amqp_queue_delete_t{0, bytes(name), bit(options.if_unused), bit(options.if_empty), 0});
}

Method basic_qos(uint16_t prefetch_count, bool global, uint32_t prefetch_size) {
  return encode(AMQP_BASIC_QOS_METHOD,
                amqp_basic_qos_t{prefetch_size, prefetch_count, bit(global)});
}

Method basic_consume(const std::string& queue, const ConsumeOptions& options) {
  const Pool pool = make_pool();
  return encode(AMQP_BASIC_CONSUME_METHOD,
                amqp_basic_consume_t{0, bytes(queue), bytes(options.tag), 0, bit(options.no_ack),
                                     bit(options.exclusive), bit(options.nowait),
                                     to_wire(options.arguments, *pool)});
}

Method basic_cancel(const std::string& tag) {
  return encode(AMQP_BASIC_CANCEL_METHOD, amqp_basic_cancel_t{bytes(tag), 0});
}

Method basic_publish(const std::string& exchange, const std::string& key,
                     const PublishOptions& options) {
  return encode(AMQP_BASIC_PUBLISH_METHOD,
                amqp_basic_publish_t{0, bytes(exchange), bytes(key), bit(options.mandatory),
                                     bit(options.immediate)});
}

Method basic_get(const std::string& queue, bool no_ack) {
  return encode(AMQP_BASIC_GET_METHOD, amqp_basic_get_t{0, bytes(queue), bit(no_ack)});
}

Method basic_ack(uint64_t tag, bool multiple) {
  return encode(AMQP_BASIC_ACK_METHOD, amqp_basic_ack_t{tag, bit(multiple)});
}

Method basic_nack(uint64_t tag, const Settle& options) {
  return encode(AMQP_BASIC_NACK_METHOD,
                amqp_basic_nack_t{tag, bit(options.multiple), bit(options.requeue)});
}

Method basic_reject(uint64_t tag, bool requeue) {
  return encode(AMQP_BASIC_REJECT_METHOD, amqp_basic_reject_t{tag, bit(requeue)});
}

Method basic_recover(bool requeue) {
  return encode(AMQP_BASIC_RECOVER_METHOD, amqp_basic_recover_t{bit(requeue)});
}

Method basic_recover_async(bool requeue) {
  return encode(AMQP_BASIC_RECOVER_ASYNC_METHOD, amqp_basic_recover_async_t{bit(requeue)});
}

Method tx_select() { return encode(AMQP_TX_SELECT_METHOD, amqp_tx_select_t{}); }
Method tx_commit() { return encode(AMQP_TX_COMMIT_METHOD, amqp_tx_commit_t{}); }
Method tx_rollback() { return encode(AMQP_TX_ROLLBACK_METHOD, amqp_tx_rollback_t{}); }
Method confirm_select() { return encode(AMQP_CONFIRM_SELECT_METHOD, amqp_confirm_select_t{0}); }

std::string payload_of(const Method& method) {
  std::string payload;
  for (int shift = 24; shift >= 0; shift -= 8) {
    payload += static_cast<char>(method.id >> static_cast<unsigned>(shift));
  }
  return payload + method.arguments;
}

std::string name_of(amqp_method_number_t id) {
  const char* known = amqp_method_name(id);
  if (known == nullptr) return std::to_string(id >> 16U) + "," + std::to_string(id & 0xFFFFU);
  // AMQP_QUEUE_DECLARE_OK_METHOD
  std::string name = std::string(known).substr(5);
  name.resize(name.size() - 7);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c == '_' ? '.' : static_cast<char>(tolower(c)); });
  return name;
}

}  // namespace postoffice::amqp_test
