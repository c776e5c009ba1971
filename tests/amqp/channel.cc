#include "tests/amqp/channel.h"

#include <amqp_framing.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <utility>

namespace postoffice::amqp_test {
namespace {

// AMQP 0-9-1 has each answer right after its method, but for exchange.unbind and tx and basic.get.
amqp_method_number_t answer_to(amqp_method_number_t id) {
  return id == AMQP_EXCHANGE_UNBIND_METHOD ? AMQP_EXCHANGE_UNBIND_OK_METHOD : id + 1;
}

template <typename Condition>
void await(const std::string& what, Condition condition) {
  const auto deadline = SteadyClock::now() + Client::kDeadline;
  while (!condition()) {
    if (SteadyClock::now() > deadline) throw std::runtime_error("not in time: " + what);
    std::this_thread::sleep_for(Millis(2));  // Between two looks.
  }
}

Message from(const Event& event) {
  Message message;
  message.properties = event.properties;
  message.body = event.body;
  if (event.id == AMQP_BASIC_DELIVER_METHOD) {
    const auto& deliver = event.as<amqp_basic_deliver_t>();
    message.consumer_tag = to_string(deliver.consumer_tag);
    message.tag = deliver.delivery_tag;
    message.redelivered = deliver.redelivered != 0;
    message.exchange = to_string(deliver.exchange);
    message.key = to_string(deliver.routing_key);
  } else if (event.id == AMQP_BASIC_GET_OK_METHOD) {
    const auto& got = event.as<amqp_basic_get_ok_t>();
    message.tag = got.delivery_tag;
    message.redelivered = got.redelivered != 0;
    message.exchange = to_string(got.exchange);
    message.key = to_string(got.routing_key);
    message.message_count = got.message_count;
  } else {
    const auto& returned = event.as<amqp_basic_return_t>();
    message.reply_code = returned.reply_code;
    message.exchange = to_string(returned.exchange);
    message.key = to_string(returned.routing_key);
  }
  return message;
}

}  // namespace

const Table& Message::headers() const {
  if (!properties.headers) throw std::runtime_error("the message has no headers");
  return *properties.headers;
}

void Channel::open() {
  client_->forget_events(number_);
  send(channel_open());
  take(AMQP_CHANNEL_OPEN_OK_METHOD);
  confirms_ = false;
  published_ = 0;
  unsettled_.clear();
  nacked_.clear();
}

void Channel::close() {
  send(channel_close());
  take(AMQP_CHANNEL_CLOSE_OK_METHOD);
}

Event Channel::call(const Method& method) {
  send(method);
  return take(answer_to(method.id));
}

QueueInfo Channel::declare(const std::string& queue, const QueueOptions& options) {
  const Event event = call(queue_declare(queue, options));
  const auto& ok = event.as<amqp_queue_declare_ok_t>();
  return {to_string(ok.queue), ok.message_count, ok.consumer_count};
}

void Channel::declare_exchange(const std::string& exchange, const std::string& type,
                               const ExchangeOptions& options) {
  call(exchange_declare(exchange, type, options));
}

void Channel::bind(const std::string& queue, const std::string& exchange, const std::string& key,
                   const Table& arguments) {
  call(queue_bind(queue, exchange, key, arguments));
}

void Channel::publish(const std::string& exchange, const std::string& key, std::string_view body,
                      const Properties& properties, const PublishOptions& options) {
  send(basic_publish(exchange, key, options));
  client_->send_content(number_, properties, body);
  if (confirms_) unsettled_.insert(++published_);
}

void Channel::publish(const std::string& queue, std::string_view body,
                      const Properties& properties) {
  publish("", queue, body, properties);
}

void Channel::confirm_select() {
  call(amqp_test::confirm_select());
  confirms_ = true;
}

void Channel::settle(const Event& event) {
  const bool is_ack = event.id == AMQP_BASIC_ACK_METHOD;
  const uint64_t tag = is_ack ? event.as<amqp_basic_ack_t>().delivery_tag
                              : event.as<amqp_basic_nack_t>().delivery_tag;
  const bool multiple = (is_ack ? event.as<amqp_basic_ack_t>().multiple
                                : event.as<amqp_basic_nack_t>().multiple) != 0;
  if (!unsettled_.contains(tag)) {
    throw std::runtime_error("tag " + std::to_string(tag) + " is settled twice or is no tag");
  }
  const auto first = multiple ? unsettled_.begin() : unsettled_.find(tag);
  const auto last = unsettled_.upper_bound(tag);
  if (!is_ack) nacked_.insert(nacked_.end(), first, last);
  unsettled_.erase(first, last);
}

std::vector<uint64_t> Channel::confirms() {
  while (!unsettled_.empty()) {
    settle(client_->take(number_, AMQP_BASIC_ACK_METHOD, AMQP_BASIC_NACK_METHOD));
  }
  return std::exchange(nacked_, {});
}

std::string Channel::consume(const std::string& queue, const ConsumeOptions& options) {
  return to_string(call(basic_consume(queue, options)).as<amqp_basic_consume_ok_t>().consumer_tag);
}

Message Channel::delivery() { return from(take(AMQP_BASIC_DELIVER_METHOD)); }

std::vector<std::string> Channel::deliveries(size_t count) {
  std::vector<std::string> bodies;
  while (bodies.size() < count) bodies.push_back(delivery().body);
  return bodies;
}

Message Channel::returned() { return from(take(AMQP_BASIC_RETURN_METHOD)); }

Message Channel::returned_first() {
  const Event event = next();
  if (event.id != AMQP_BASIC_RETURN_METHOD) {
    throw std::runtime_error(name_of(event.id) + " came before basic.return");
  }
  return from(event);
}

std::optional<Message> Channel::get(const std::string& queue, bool no_ack) {
  send(basic_get(queue, no_ack));
  const Event event = client_->take(number_, AMQP_BASIC_GET_OK_METHOD, AMQP_BASIC_GET_EMPTY_METHOD);
  if (event.id == AMQP_BASIC_GET_EMPTY_METHOD) return std::nullopt;
  return from(event);
}

std::vector<std::string> Channel::get_all(const std::string& queue) {
  std::vector<std::string> bodies;
  while (const std::optional<Message> message = get(queue)) bodies.push_back(message->body);
  return bodies;
}

void Channel::await_ready(const std::string& queue, uint32_t count) {
  await(std::to_string(count) + " messages in " + queue, [&] { return ready(queue) == count; });
}

void Channel::await_consumers(const std::string& queue, uint32_t count) {
  await(std::to_string(count) + " consumers of " + queue,
        [&] { return declare(queue, {.passive = true}).consumers == count; });
}

uint16_t Channel::try_call(const Method& method) {
  send(method);
  const Event event = client_->take(number_, answer_to(method.id), AMQP_CHANNEL_CLOSE_METHOD);
  if (event.id != AMQP_CHANNEL_CLOSE_METHOD) return 0;
  const uint16_t code = event.as<amqp_channel_close_t>().reply_code;
  send(channel_close_ok());
  open();
  return code;
}

void Channel::await_accepted(const std::vector<Method>& methods) {
  await(name_of(methods.back().id), [&] {
    return std::all_of(methods.begin(), methods.end(),
                       [this](const Method& method) { return try_call(method) == 0; });
  });
}

void Channel::await_gone(const std::string& queue) {
  await(queue + " is gone",
        [&] { return try_call(queue_declare(queue, {.passive = true})) == AMQP_NOT_FOUND; });
}

void Channel::await_unroutable(const std::string& queue) {
  await(queue + " is gone", [&] {
    publish("", queue, "anybody?", {}, {.mandatory = true});
    sync();
    if (!client_->has_event(number_, AMQP_BASIC_RETURN_METHOD)) return false;
    returned();
    return true;
  });
}

void Channel::sync() { call(exchange_declare("amq.direct", "direct", {.passive = true})); }

void Channel::sync(const std::string& queue) {
  ready(queue);
  sync();
}

void Channel::expect_nothing() {
  EXPECT_FALSE(client_->has_event(number_))
      << "unexpected " << name_of(client_->next(number_).id) << " on channel " << number_;
}

void Channel::expect_close(uint16_t code, amqp_method_number_t because_of) {
  const Event event = take(AMQP_CHANNEL_CLOSE_METHOD);
  const auto& close = event.as<amqp_channel_close_t>();
  const std::string text = to_string(close.reply_text);
  EXPECT_EQ(close.reply_code, code) << text;
  const auto blamed = static_cast<amqp_method_number_t>(close.class_id) << 16U | close.method_id;
  EXPECT_EQ(name_of(blamed), name_of(because_of)) << text;
  send(channel_close_ok());
}

void Channel::refuses(const Method& method, uint16_t code) {
  SCOPED_TRACE("refuses " + name_of(method.id));
  send(method);
  expect_close(code, method.id);
  open();
}

void Channel::closes_connection(const Method& method, uint16_t code) {
  SCOPED_TRACE("connection closed by " + name_of(method.id));
  send(method);
  client_->expect_connection_close(code, method.id);
}

}  // namespace postoffice::amqp_test
