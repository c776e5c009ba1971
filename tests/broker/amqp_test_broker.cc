#include "tests/broker/amqp_test_broker.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace postoffice {
namespace {

constexpr amqp_channel_t kChannel = 1;

std::string to_text(amqp_bytes_t bytes) { return std::string(amqp_text(bytes)); }

std::map<std::string, std::string> text_headers(const amqp_basic_properties_t& properties) {
  std::map<std::string, std::string> headers;
  if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) == 0) return headers;
  for (int i = 0; i < properties.headers.num_entries; ++i) {
    const auto& entry = properties.headers.entries[i];
    if (entry.value.kind == AMQP_FIELD_KIND_UTF8)
      headers[to_text(entry.key)] = to_text(entry.value.value.bytes);
  }
  return headers;
}

std::vector<amqp_table_entry_t> to_entries(const TestBroker::Arguments& arguments) {
  std::vector<amqp_table_entry_t> entries;
  for (const auto& [key, value] : arguments) {
    auto& entry = entries.emplace_back();
    entry.key = amqp_bytes(key);
    if (value.find_first_not_of("0123456789") == std::string::npos) {
      entry.value.kind = AMQP_FIELD_KIND_I64;
      entry.value.value.i64 = std::stoll(value);
    } else {
      entry.value.kind = AMQP_FIELD_KIND_UTF8;
      entry.value.value.bytes = amqp_bytes(value);
    }
  }
  return entries;
}

}  // namespace

bool eventually(Millis timeout, const std::function<bool()>& holds) {
  const auto deadline = SteadyClock::now() + timeout;
  while (!holds()) {
    if (SteadyClock::now() >= deadline) return false;
    std::this_thread::sleep_for(Millis(5));
  }
  return true;
}

AmqpUrl test_url() {
  const char* text = std::getenv("TEST_AMQP_URL");
  std::string wanted;
  const auto urls = parse_amqp_urls(text == nullptr ? "" : text, wanted);
  if (!urls) throw std::runtime_error("TEST_AMQP_URL must be " + wanted);
  return urls->front();
}

// --- TestBroker

TestBroker::TestBroker()
    : connection_(std::make_unique<AmqpConnection>(
          AmqpConnection::Options{.url = test_url(), .name = "test"})) {
  connection_->open_channel(kChannel);
}

bool TestBroker::request(amqp_method_number_t id, const void* fields,
                         amqp_method_number_t reply_id) {
  const auto reply = connection_->rpc(kChannel, id, fields, reply_id, "test");
  if (reply.code == 0) return true;
  connection_->open_channel(kChannel);
  return false;
}

void TestBroker::declare_queue(std::string_view queue, const Arguments& arguments) {
  auto entries = to_entries(arguments);
  amqp_queue_declare_t declare{};
  declare.queue = amqp_bytes(queue);
  declare.durable = 1;
  declare.arguments = {static_cast<int>(entries.size()), entries.data()};
  ASSERT_TRUE(request(AMQP_QUEUE_DECLARE_METHOD, &declare, AMQP_QUEUE_DECLARE_OK_METHOD));
}

void TestBroker::bind(std::string_view queue, std::string_view exchange,
                      std::string_view routing_key) {
  amqp_queue_bind_t bind{};
  bind.queue = amqp_bytes(queue);
  bind.exchange = amqp_bytes(exchange);
  bind.routing_key = amqp_bytes(routing_key);
  ASSERT_TRUE(request(AMQP_QUEUE_BIND_METHOD, &bind, AMQP_QUEUE_BIND_OK_METHOD));
}

void TestBroker::delete_queue(std::string_view queue) {
  amqp_queue_delete_t fields{};
  fields.queue = amqp_bytes(queue);
  request(AMQP_QUEUE_DELETE_METHOD, &fields, AMQP_QUEUE_DELETE_OK_METHOD);
}

void TestBroker::delete_exchange(std::string_view exchange) {
  amqp_exchange_delete_t fields{};
  fields.exchange = amqp_bytes(exchange);
  request(AMQP_EXCHANGE_DELETE_METHOD, &fields, AMQP_EXCHANGE_DELETE_OK_METHOD);
}

void TestBroker::purge(std::string_view queue) {
  amqp_queue_purge_t fields{};
  fields.queue = amqp_bytes(queue);
  request(AMQP_QUEUE_PURGE_METHOD, &fields, AMQP_QUEUE_PURGE_OK_METHOD);
}

bool TestBroker::exists(std::string_view queue) {
  amqp_queue_declare_t declare{};
  declare.queue = amqp_bytes(queue);
  declare.passive = 1;
  return request(AMQP_QUEUE_DECLARE_METHOD, &declare, AMQP_QUEUE_DECLARE_OK_METHOD);
}

uint32_t TestBroker::length(std::string_view queue) {
  amqp_queue_declare_t declare{};
  declare.queue = amqp_bytes(queue);
  declare.passive = 1;
  const auto reply = connection_->rpc(kChannel, AMQP_QUEUE_DECLARE_METHOD, &declare,
                                      AMQP_QUEUE_DECLARE_OK_METHOD, "test");
  if (reply.code == 0)
    return static_cast<const amqp_queue_declare_ok_t*>(reply.fields)->message_count;
  connection_->open_channel(kChannel);
  return 0;
}

// RabbitMQ (3.10) may lose what is published to a quorum queue that was just declared anew, and
// then never confirms it.
void TestBroker::publish(std::string_view queue, std::string_view body) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (attempt > 0) *this = TestBroker();
    if (try_publish(queue, body)) return;
  }
  FAIL() << "no confirm for a message to " << queue;
}

bool TestBroker::try_publish(std::string_view queue, std::string_view body) {
  const amqp_confirm_select_t select{};
  if (!request(AMQP_CONFIRM_SELECT_METHOD, &select, AMQP_CONFIRM_SELECT_OK_METHOD)) return false;
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
  properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  amqp_basic_publish_t publish{};
  publish.routing_key = amqp_bytes(queue);
  connection_->send_message(kChannel, publish, properties, body);
  const auto frame = connection_->next_frame(Millis(5000));
  return frame && frame->payload.method.id == AMQP_BASIC_ACK_METHOD;
}

std::vector<TestMessage> TestBroker::take_all(std::string_view queue) {
  std::vector<TestMessage> taken;
  const uint32_t ready = length(queue);
  amqp_basic_consume_t consume{};
  consume.queue = amqp_bytes(queue);
  consume.no_ack = 1;
  consume.consumer_tag = amqp_cstring_bytes("take_all");
  if (!request(AMQP_BASIC_CONSUME_METHOD, &consume, AMQP_BASIC_CONSUME_OK_METHOD)) return taken;
  uint64_t missing_bytes = 0;
  bool in_content = false;
  while (taken.size() < ready || in_content) {
    const auto frame = connection_->next_frame(Millis(10'000));
    if (!frame) {
      ADD_FAILURE() << "took " << taken.size() << " of " << ready << " from " << queue;
      break;
    }
    if (frame->frame_type == AMQP_FRAME_METHOD) {
      const auto& deliver =
          *static_cast<const amqp_basic_deliver_t*>(frame->payload.method.decoded);
      taken.push_back({.body = {}, .headers = {}, .redelivered = deliver.redelivered != 0});
      in_content = true;
    } else if (frame->frame_type == AMQP_FRAME_HEADER) {
      missing_bytes = frame->payload.properties.body_size;
      taken.back().headers = text_headers(
          *static_cast<const amqp_basic_properties_t*>(frame->payload.properties.decoded));
      in_content = missing_bytes > 0;
    } else {
      const auto part = amqp_text(frame->payload.body_fragment);
      taken.back().body += part;
      missing_bytes -= part.size();
      in_content = missing_bytes > 0;
    }
    connection_->release_buffers();
  }
  amqp_basic_cancel_t cancel{};
  cancel.consumer_tag = consume.consumer_tag;
  request(AMQP_BASIC_CANCEL_METHOD, &cancel, AMQP_BASIC_CANCEL_OK_METHOD);
  return taken;
}

bool TestBroker::reject_one(std::string_view queue) {
  auto* state = connection_->state();
  const auto reply = amqp_basic_get(state, kChannel, amqp_bytes(queue), 0);
  if (connection_->check_rpc(reply, "basic.get") != 0) return false;
  if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD) return false;
  const auto tag = static_cast<const amqp_basic_get_ok_t*>(reply.reply.decoded)->delivery_tag;
  amqp_message_t message;
  connection_->check_rpc(amqp_read_message(state, kChannel, &message, 0), "basic.get");
  amqp_destroy_message(&message);
  amqp_basic_reject(state, kChannel, tag, 0);
  return true;
}

// --- RabbitMqTest

void RabbitMqTest::SetUp() {
  if (std::getenv("TEST_AMQP_URL") == nullptr || std::getenv("TEST_SERVICES_DIR") == nullptr)
    GTEST_SKIP() << "TEST_AMQP_URL and TEST_SERVICES_DIR are not set";
  TestBroker broker;
  broker.purge(topology::kCallbacks);
  broker.purge(topology::kCallbacksDead);
  for (const auto& retry : topology::kCallbacksRetry) broker.purge(retry.name);
}

void RabbitMqTest::TearDown() {
  if (!disturbed_) return;
  try {
    resume_broker();
  } catch (const std::runtime_error&) {
    // It was killed.
  }
  start_broker();
  clear_alarm();
}

std::string RabbitMqTest::services(const std::string& verb, const std::string& arguments) {
  const auto script = std::filesystem::path(POSTOFFICE_SOURCE_DIR) / "scripts" / "services";
  const std::string command =
      script.string() + " " + verb + " \"$TEST_SERVICES_DIR\" " + arguments + " 2>&1";
  FILE* pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) throw std::runtime_error("popen failed");
  std::string output;
  std::array<char, 4096> part{};
  while (fgets(part.data(), part.size(), pipe) != nullptr) output += part.data();
  if (pclose(pipe) != 0) throw std::runtime_error(command + ": " + output);
  return output;
}

void RabbitMqTest::kill_broker() {
  // RabbitMQ 3.10 writes the directory of its quorum queues every 500 ms only. Killed sooner after
  // a queue was deleted and declared again, it never finds that queue's log again, and answers 541.
  services("rabbitmqctl", "eval '[ok = dets:sync(Table) || Table <- dets:all()].'");
  services("kill", "rabbitmq");
}

void RabbitMqTest::raise_alarm() { services("rabbitmqctl", "set_vm_memory_high_watermark 0"); }
void RabbitMqTest::clear_alarm() { services("rabbitmqctl", "set_vm_memory_high_watermark 0.4"); }

}  // namespace postoffice
