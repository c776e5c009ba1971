#include <gtest/gtest.h>

#include "base/error.h"
#include "broker/amqp_connection.h"
#include "broker/topology.h"
#include "tests/broker/amqp_test_broker.h"

namespace postoffice {
namespace {

class TopologyRabbitMq : public RabbitMqTest {
 protected:
  void SetUp() override {
    RabbitMqTest::SetUp();
    if (IsSkipped()) return;
    broker_ = std::make_unique<TestBroker>();
    delete_all();
  }

  void delete_all() {
    broker_->delete_queue(topology::kCallbacks);
    broker_->delete_queue(topology::kCallbacksDead);
    for (const auto& retry : topology::kCallbacksRetry) broker_->delete_queue(retry.name);
    broker_->delete_exchange(topology::kExchange);
  }

  static void declare() {
    AmqpConnection connection({.url = test_url(), .name = "test"});
    declare_topology(connection);
  }

  std::unique_ptr<TestBroker> broker_;
};

TEST_F(TopologyRabbitMq, IsDeclaredAsOftenAsWanted) {
  AmqpConnection connection({.url = test_url(), .name = "test"});
  declare_topology(connection);
  declare_topology(connection);
  EXPECT_TRUE(broker_->exists(topology::kCallbacks));
  EXPECT_TRUE(broker_->exists(topology::kCallbacksDead));
  for (const auto& retry : topology::kCallbacksRetry) EXPECT_TRUE(broker_->exists(retry.name));
}

TEST_F(TopologyRabbitMq, ARetryComesBackAfterItsDelay) {
  declare();
  const auto start = SteadyClock::now();
  broker_->publish("postoffice.callbacks.retry.500ms", "retry");
  EXPECT_EQ(broker_->length(topology::kCallbacks), 0U);
  ASSERT_TRUE(
      eventually(Millis(10'000), [&] { return broker_->length(topology::kCallbacks) == 1; }));
  EXPECT_GE(SteadyClock::now() - start, Millis(500));
  const auto taken = broker_->take_all(topology::kCallbacks);
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].body, "retry");
  EXPECT_EQ(broker_->length("postoffice.callbacks.retry.500ms"), 0U);
}

// At-least-once dead-lettering: with the target gone, a retry is kept until there is one again.
// RabbitMQ tries again every 180 s, which is cut short here.
TEST_F(TopologyRabbitMq, ARetryWaitsForAQueueThatWasDeleted) {
  const std::string setting = "rabbit, dead_letter_worker_publisher_confirm_timeout";
  const auto set = [&setting](int milliseconds) {
    services("rabbitmqctl",
             "eval 'application:set_env(" + setting + ", " + std::to_string(milliseconds) + ").'");
  };
  set(1000);
  declare();
  broker_->delete_queue(topology::kCallbacks);
  broker_->publish("postoffice.callbacks.retry.500ms", "retry");
  EXPECT_TRUE(eventually(Millis(5000), [&] {
    return broker_->length("postoffice.callbacks.retry.500ms") == 0;  // Expired.
  }));
  declare();
  EXPECT_TRUE(
      eventually(Millis(20'000), [&] { return broker_->length(topology::kCallbacks) == 1; }));
  set(180'000);  // Its default: without any, RabbitMQ's forwarding of dead letters crashes for
                 // good.
  delete_all();  // The queues keep what was set when they were declared.
  declare();
}

TEST_F(TopologyRabbitMq, ARejectedCallbackIsDeadLettered) {
  declare();
  broker_->publish(topology::kCallbacks, "poison");
  ASSERT_TRUE(broker_->reject_one(topology::kCallbacks));
  EXPECT_TRUE(
      eventually(Millis(10'000), [&] { return broker_->length(topology::kCallbacksDead) == 1; }));
}

TEST_F(TopologyRabbitMq, WhatExistsWithOtherArgumentsIsUsedAsItIs) {
  broker_->declare_queue(topology::kCallbacks);  // A classic queue without arguments.
  declare();
  declare();
  broker_->publish(topology::kCallbacks, "x");
  EXPECT_EQ(broker_->length(topology::kCallbacks), 1U);
  EXPECT_TRUE(broker_->exists(topology::kCallbacksDead));
  delete_all();
  declare();
}

}  // namespace
}  // namespace postoffice
