#include "tests/e2e/raw_broker.h"

#include <stdexcept>

namespace postoffice::e2e {
namespace {

amqp_bytes_t bytes(const std::string& text) {
  return {text.size(), const_cast<char*>(text.data())};
}

std::string text(amqp_bytes_t value) { return {static_cast<const char*>(value.bytes), value.len}; }

AmqpUrl first_url(const std::string& amqp_url) {
  std::string wanted;
  const auto urls = parse_amqp_urls(amqp_url, wanted);
  if (!urls) throw std::runtime_error("bad AMQP_URL: it must be " + wanted);
  return urls->front();
}

std::map<std::string, std::string> text_headers(const amqp_basic_properties_t& properties) {
  std::map<std::string, std::string> headers;
  if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) == 0) return headers;
  for (int i = 0; i < properties.headers.num_entries; ++i) {
    const auto& entry = properties.headers.entries[i];
    if (entry.value.kind == AMQP_FIELD_KIND_UTF8)
      headers[text(entry.key)] = text(entry.value.value.bytes);
  }
  return headers;
}

}  // namespace

RawBroker::RawBroker(const std::string& amqp_url)
    : connection_(std::make_unique<AmqpConnection>(
          AmqpConnection::Options{.url = first_url(amqp_url), .name = "test"})) {
  open_channel();
}

void RawBroker::open_channel() { connection_->open_channel(++channel_); }

bool RawBroker::succeeded(const char* doing) {
  if (connection_->check_rpc(amqp_get_rpc_reply(connection_->state()), doing) == 0) return true;
  open_channel();
  return false;
}

void RawBroker::delete_queue(const std::string& queue) {
  amqp_queue_delete(connection_->state(), channel_, bytes(queue), 0, 0);
  succeeded("queue.delete");
}

void RawBroker::delete_exchange(const std::string& exchange) {
  amqp_exchange_delete(connection_->state(), channel_, bytes(exchange), 0);
  succeeded("exchange.delete");
}

std::string RawBroker::tap(const std::string& exchange, const std::string& routing_key) {
  const auto* declared = amqp_queue_declare(connection_->state(), channel_, amqp_empty_bytes, 0, 0,
                                            1, 1, amqp_empty_table);
  std::string queue = declared == nullptr ? "" : text(declared->queue);
  if (!succeeded("queue.declare")) throw std::runtime_error("no queue to tap " + exchange);
  amqp_queue_bind(connection_->state(), channel_, bytes(queue), bytes(exchange), bytes(routing_key),
                  amqp_empty_table);
  if (!succeeded("queue.bind")) throw std::runtime_error("cannot tap " + exchange);
  return queue;
}

void RawBroker::publish(const std::string& queue, const std::string& body) {
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
  properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  AmqpConnection::check_status(amqp_basic_publish(connection_->state(), channel_, amqp_empty_bytes,
                                                  bytes(queue), 0, 0, &properties, bytes(body)),
                               "basic.publish");
  length(queue);  // A round trip on the same channel: the message is in.
}

std::vector<RawMessage> RawBroker::take_all(const std::string& queue) {
  std::vector<RawMessage> taken;
  while (true) {
    const auto reply = amqp_basic_get(connection_->state(), channel_, bytes(queue), 1);
    if (connection_->check_rpc(reply, "basic.get") != 0) {
      open_channel();
      return taken;
    }
    if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) return taken;
    amqp_message_t message;
    connection_->check_rpc(amqp_read_message(connection_->state(), channel_, &message, 0),
                           "basic.get");
    taken.push_back({text(message.body), text_headers(message.properties)});
    amqp_destroy_message(&message);
  }
}

uint32_t RawBroker::length(const std::string& queue) {
  const auto* declared = amqp_queue_declare(connection_->state(), channel_, bytes(queue), 1, 0, 0,
                                            0, amqp_empty_table);
  const uint32_t messages = declared == nullptr ? 0 : declared->message_count;
  succeeded("queue.declare");
  return messages;
}

}  // namespace postoffice::e2e
