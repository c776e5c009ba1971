// Writes the seeds of the fuzz targets: what clients send, encoded by librabbitmq.
//
//   fuzz_corpus FOLDER     fills FOLDER/codec and FOLDER/connection

#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/amqp/methods.h"
#include "tests/amqp/properties.h"
#include "tests/fuzz/input.h"

namespace postoffice::fuzz {
namespace {

using namespace amqp_test;  // NOLINT(google-build-using-namespace): the words of an AMQP client.

std::string number(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(value >> 8 * i);
  return text;
}

std::string content_header(const Properties& properties, size_t body_bytes) {
  return number(60, 2) + number(0, 2) + number(body_bytes, 8) + properties.encode();
}

// What a client does, on channel 1 if it says nothing else.
class Story {
 public:
  explicit Story(uint8_t options = 0) { input_.options = options; }

  Story& send(const Method& method, uint16_t channel = 1) {
    return add(Part::frame(1, channel, payload_of(method)));
  }
  // After everything before has been answered.
  Story& then(const Method& method, uint16_t channel = 1) {
    send(method, channel);
    input_.parts.back().head |= Part::kSettles;
    return *this;
  }
  Story& publish(const std::string& exchange, const std::string& key,
                 const Properties& properties = {}, const std::string& body = "body",
                 const PublishOptions& options = {}) {
    send(basic_publish(exchange, key, options));
    add(Part::frame(2, 1, content_header(properties, body.size())));
    return body.empty() ? *this : add(Part::frame(3, 1, body));
  }
  Story& add(Part part) {
    input_.parts.push_back(std::move(part));
    return *this;
  }
  // The part before is the other client's.
  Story& by_other() {
    input_.parts.back().head |= 1 << 4;
    return *this;
  }
  std::string bytes() const { return input_.write(); }

 private:
  Input input_;
};

Story opened(uint8_t options = 0) { return Story(options).send(channel_open()); }

Table every_kind() {
  return {{"t", true},
          {"b", Value::of('b', -1)},
          {"B", Value::of('B', 255)},
          {"s", Value::of('s', -300)},
          {"u", Value::of('u', 65'535)},
          {"I", -70'000},
          {"i", Value::of('i', 4'000'000'000)},
          {"l", int64_t{-5'000'000'000}},
          {"L", Value::of('L', -1)},
          {"f", Value::float32(1.5F)},
          {"d", 2.25},
          {"D", Value::decimal(2, 1234)},
          {"S", "text"},
          {"x", Value::of('x', std::string("\0\1", 2))},
          {"A", std::vector<Value>{1, "two", std::vector<Value>{3.0}}},
          {"F", Table{{"inner", Table{{"innermost", false}}}}},
          {"T", Value::of('T', 1'700'000'000)},
          {"V", Value()}};
}

Properties every_property() {
  return {.content_type = "text/plain",
          .content_encoding = "gzip",
          .headers = every_kind(),
          .delivery_mode = 2,
          .priority = 5,
          .correlation_id = "c-1",
          .reply_to = "replies",
          .expiration = "60000",
          .message_id = "m-1",
          .timestamp = 1'700'000'000,
          .type = "t",
          .user_id = "guest",
          .app_id = "app",
          .cluster_id = "cluster"};
}

QueueOptions durable(Table arguments = {}) {
  return {.durable = true, .arguments = std::move(arguments)};
}

using Seeds = std::vector<std::pair<std::string, std::string>>;

Seeds connection_seeds() {
  const std::string amq_reply = "amq.rabbitmq.reply-to";
  Table death = {{"count", Value::of('l', 1)}, {"reason", "expired"}, {"queue", "q"}};
  return {
      {"publish_get_ack", opened(Input::kRestarts)
                              .send(queue_declare("q", durable()))
                              .publish("", "q", persistent())
                              .publish("", "q", every_property(), "1234567890")
                              .send(basic_get("q", false))
                              .then(basic_ack(1))
                              .send(basic_get("q", true))
                              .bytes()},
      {"consume_confirm", opened()
                              .send(queue_declare("q", durable()))
                              .send(confirm_select())
                              .send(basic_qos(2))
                              .send(basic_consume("q", {.tag = "c"}))
                              .publish("", "q", persistent())
                              .publish("", "q", persistent())
                              .publish("", "none", {}, "", {.mandatory = true})
                              .then(basic_nack(2, {.multiple = true}))
                              .then(basic_reject(3, true))
                              .then(basic_ack(5, true))
                              .send(basic_cancel("c"))
                              .bytes()},
      {"topic", opened()
                    .send(exchange_declare("x", "topic", {.durable = true}))
                    .send(queue_declare("q", durable()))
                    .send(queue_bind("q", "x", "a.*.#"))
                    .send(queue_bind("q", "x", "#.b.#.#"))
                    .publish("x", "a.b.c")
                    .send(queue_unbind("q", "x", "a.*.#"))
                    .publish("x", "a.b")
                    .send(exchange_delete("x", {.if_unused = true}))
                    .bytes()},
      {"headers", opened()
                      .send(exchange_declare("x", "headers", {.auto_delete = true}))
                      .send(queue_declare("q", {.exclusive = true}))
                      .send(queue_bind("q", "x", "", {{"x-match", "any"}, {"a", 1}, {"b", "two"}}))
                      .publish("x", "", {.headers = Table{{"b", "two"}}})
                      .send(queue_purge("q"))
                      .send(queue_delete("q", {.if_unused = true, .if_empty = true}))
                      .bytes()},
      {"exchanges",
       opened(Input::kRestarts)
           .send(exchange_declare("x", "fanout", {.durable = true}))
           .send(exchange_declare(
               "y", "direct", {.durable = true, .arguments = Table{{"alternate-exchange", "x"}}}))
           .send(exchange_bind("y", "x", "k"))
           .send(exchange_bind("x", "y", "k"))
           .send(queue_declare("q", durable()))
           .send(queue_bind("q", "y", "k"))
           .publish("x", "k", persistent())
           .publish("y", "other", persistent())
           .send(exchange_unbind("y", "x", "k"))
           .bytes()},
      {"dead_letters",
       opened()
           .send(queue_declare("q", durable({{"x-message-ttl", 0},
                                             {"x-dead-letter-exchange", ""},
                                             {"x-dead-letter-routing-key", "p"}})))
           .send(queue_declare("p", durable({{"x-max-length", 1},
                                             {"x-dead-letter-exchange", ""},
                                             {"x-dead-letter-routing-key", "q"}})))
           .publish("", "q", persistent())
           .publish("", "q", {.headers = Table{{"x-death", std::vector<Value>{Value(death)}}}})
           .send(basic_consume("p", {.tag = "c"}))
           .then(basic_reject(1, false))
           .bytes()},
      {"quorum",
       opened(Input::kRestarts)
           .send(queue_declare("q", durable({{"x-queue-type", "quorum"}, {"x-delivery-limit", 1}})))
           .publish("", "q", persistent())
           .send(basic_get("q", false))
           .then(basic_reject(1, true))
           .send(basic_get("q", false))
           .bytes()},
      {"stream",
       opened(Input::kRestarts)
           .send(queue_declare("q", durable({{"x-queue-type", "stream"}, {"x-max-age", "1h"}})))
           .publish("", "q", persistent())
           .send(basic_qos(10))
           .send(basic_consume(
               "q", {.tag = "c",
                     .arguments = Table{{"x-stream-offset", Value::of('T', 1'700'000'000)}}}))
           .then(basic_ack(1, true))
           .send(basic_cancel("c"))
           .send(basic_consume("q", {.tag = "d", .arguments = Table{{"x-stream-offset", "first"}}}))
           .bytes()},
      {"update_secret",  // A method that librabbitmq does not know.
       opened()
           .add(Part::frame(
               1, 0, number(10, 2) + number(70, 2) + number(3, 4) + "new" + number(4, 1) + "soon"))
           .then(queue_declare("q", durable()))
           .bytes()},
      {"priorities",
       opened()
           .send(queue_declare("q", {.arguments = Table{{"x-max-priority", 3}}}))
           .publish("", "q", {.priority = 1})
           .publish("", "q", {.priority = 9})
           .send(basic_consume(
               "q", {.tag = "c", .no_ack = true, .arguments = Table{{"x-priority", -1}}}))
           .bytes()},
      {"limits", opened()
                     .send(queue_declare("q", durable({{"x-max-length-bytes", 4},
                                                       {"x-overflow", "reject-publish"},
                                                       {"x-dead-letter-strategy", "at-least-once"},
                                                       {"x-dead-letter-exchange", "amq.fanout"},
                                                       {"x-expires", 60'000},
                                                       {"x-single-active-consumer", true}})))
                     .send(confirm_select())
                     .publish("", "q", persistent())
                     .publish("", "q", persistent())
                     .bytes()},
      {"transactions", opened(Input::kRestarts)
                           .send(queue_declare("q", durable()))
                           .send(tx_select())
                           .publish("", "q", persistent())
                           .send(tx_commit())
                           .send(basic_get("q", false))
                           .then(basic_ack(1))
                           .publish("", "q", persistent())
                           .send(tx_rollback())
                           .bytes()},
      {"copies", opened()
                     .send(queue_declare("q"))
                     .send(queue_declare("p"))
                     .publish("", "q",
                              {.headers = Table{{"CC", std::vector<Value>{"p", "q"}},
                                                {"BCC", std::vector<Value>{"p"}}}})
                     .bytes()},
      {"replies", opened()
                      .send(basic_consume(amq_reply, {.tag = "c", .no_ack = true}))
                      .send(queue_declare("q"))
                      .publish("", "q", {.correlation_id = "1", .reply_to = amq_reply})
                      .send(basic_get("q"))
                      .send(queue_declare(amq_reply, {.passive = true}))
                      .bytes()},
      {"two_clients", opened()
                          .send(queue_declare("q", durable()))
                          .send(channel_open())
                          .by_other()
                          .send(basic_consume("q", {.tag = "c"}))
                          .by_other()
                          .publish("", "q", persistent())
                          .then(queue_delete("q"))
                          .then(basic_recover(true))
                          .by_other()
                          .bytes()},
      {"channels", opened()
                       .send(channel_open(), 2)
                       .send(channel_flow(true), 2)
                       .send(queue_declare("none", {.passive = true}), 2)
                       .then(channel_close_ok(), 2)
                       .send(channel_close())
                       .send(connection_close(), 0)
                       .bytes()},
      {"raw",
       Story(Input::kNoHandshake)
           .add({0x40, std::string("AMQP\0\0\x09\x01", 8)})
           .send(start_ok({{"product", "fuzz"}}, "PLAIN", std::string("\0guest\0guest", 12)), 0)
           .send(tune_ok(2047, 131'072, 60), 0)
           .send(connection_open("/"), 0)
           .send(channel_open())
           .add({0xC0, std::string("\x08\0\0", 3)})
           .bytes()},
  };
}

std::string frame(uint8_t type, uint16_t channel, const std::string& payload) {
  return number(type, 1) + number(channel, 2) + number(payload.size(), 4) + payload + "\xCE";
}

std::string table_bytes(const Table& table) {
  return Properties{.headers = table}.encode().substr(2);
}

// The first octet chooses: table, properties, frames.
Seeds codec_seeds() {
  Table deep = {{"x", 1}};
  for (int i = 0; i < 70; ++i) deep = {{"F", deep}};
  const Table arguments = {{"x-queue-type", "quorum"}, {"x-message-ttl", 60'000}};
  return {
      {"table_empty", std::string(1, '\0') + table_bytes({})},
      {"table_every_kind", std::string(1, '\0') + table_bytes(every_kind())},
      {"table_arguments", std::string(1, '\0') + table_bytes(arguments)},
      {"table_too_deep", std::string(1, '\0') + table_bytes(deep)},
      {"properties_none", "\1" + Properties{}.encode()},
      {"properties_every", "\1" + every_property().encode()},
      {"properties_usual",
       "\1" + Properties{.content_type = "application/json", .delivery_mode = 2}.encode()},
      {"frames_publish", "\2" + frame(1, 1, payload_of(basic_publish("x", "key"))) +
                             frame(2, 1, content_header(every_property(), 4)) +
                             frame(3, 1, "body")},
      {"frames_declare",
       "\2" + frame(1, 1, payload_of(queue_declare("q", durable(arguments)))) + frame(8, 0, "")},
  };
}

void write(const std::filesystem::path& folder, const Seeds& seeds) {
  std::filesystem::create_directories(folder);
  for (const auto& [name, bytes] : seeds) {
    std::ofstream file(folder / name, std::ios::binary);
    file << bytes;
    if (!file.flush()) throw std::runtime_error("cannot write " + (folder / name).string());
  }
}

}  // namespace
}  // namespace postoffice::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_corpus FOLDER\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    postoffice::fuzz::write(folder / "codec", postoffice::fuzz::codec_seeds());
    postoffice::fuzz::write(folder / "connection", postoffice::fuzz::connection_seeds());
  } catch (const std::exception& error) {
    std::cerr << "fuzz_corpus: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
