#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/time.h"
#include "broker/amqp_connection.h"
#include "broker/topology.h"

namespace postoffice {

// Polls until `holds` or `timeout` is over; the last answer.
bool eventually(Millis timeout, const std::function<bool()>& holds);

// The URL in TEST_AMQP_URL.
AmqpUrl test_url();

struct TestMessage {
  std::string body;
  std::map<std::string, std::string> headers;  // Text headers only.
  bool redelivered = false;
};

// What an operator does at the broker, on a connection of its own. Not thread-safe.
class TestBroker {
 public:
  TestBroker();

  using Arguments = std::map<std::string, std::string>;  // Digits alone mean an integer.
  void declare_queue(std::string_view queue, const Arguments& arguments = {});
  void bind(std::string_view queue, std::string_view exchange, std::string_view routing_key);
  void delete_queue(std::string_view queue);
  void delete_exchange(std::string_view exchange);
  void purge(std::string_view queue);
  // Ready messages; 0 when there is no such queue.
  uint32_t length(std::string_view queue);
  bool exists(std::string_view queue);
  // Into the queue, by the default exchange, persistent; confirmed when it returns.
  void publish(std::string_view queue, std::string_view body);
  // Takes and acknowledges what is ready.
  std::vector<TestMessage> take_all(std::string_view queue);
  // Takes one message, if there is one, and rejects it without requeue.
  bool reject_one(std::string_view queue);

 private:
  bool try_publish(std::string_view queue, std::string_view body);
  bool request(amqp_method_number_t id, const void* fields, amqp_method_number_t reply_id);

  std::unique_ptr<AmqpConnection> connection_;
};

// A test on the RabbitMQ of scripts/services. Starts with the product's queues empty, and leaves
// the broker running and without alarms.
class RabbitMqTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // scripts/services <verb> $TEST_SERVICES_DIR <arguments>. Throws when it fails.
  static std::string services(const std::string& verb, const std::string& arguments);
  static void kill_broker();
  static void start_broker() { services("up", "rabbitmq"); }
  static void pause_broker() { services("pause", "rabbitmq"); }
  static void resume_broker() { services("resume", "rabbitmq"); }
  static void raise_alarm();
  static void clear_alarm();
  // The broker has been disturbed: TearDown sets it right.
  void disturb() { disturbed_ = true; }

  Metrics metrics_;

 private:
  bool disturbed_ = false;
};

}  // namespace postoffice
