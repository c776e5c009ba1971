#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Priorities of messages and consumers, single active consumers: RabbitMQ's extensions
// (https://www.rabbitmq.com/docs/priority, /consumer-priority, /consumers#single-active-consumer).
class PriorityTest : public ChannelTest {};
INSTANTIATE_ON_ENGINES(PriorityTest);

TEST_P(PriorityTest, HigherPrioritiesComeFirst) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-max-priority", 5}}});
  ch().confirm_select();
  ch().publish(q(), "none");
  for (const int priority : {1, 5, 3, 200, 0}) {
    ch().publish(q(), std::to_string(priority), {.priority = static_cast<uint8_t>(priority)});
  }
  ch().confirms();
  // Above the queue's maximum is the maximum; none is 0.
  EXPECT_EQ(ch().get_all(q()), (std::vector<std::string>{"5", "200", "3", "1", "none", "0"}));
}

TEST_P(PriorityTest, QueueWithoutMaximumIgnoresPriorities) {
  ch().declare(q(), {.exclusive = true});
  ch().confirm_select();
  ch().publish(q(), "low", {.priority = 1});
  ch().publish(q(), "high", {.priority = 9});
  ch().confirms();
  EXPECT_EQ(ch().get_all(q()), (std::vector<std::string>{"low", "high"}));
}

TEST_P(PriorityTest, RequeuedMessageKeepsPriorityAndPosition) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-max-priority", 5}}});
  ch().confirm_select();
  for (const char* body : {"1", "2"}) ch().publish(q(), body, {.priority = 3});
  ch().publish(q(), "first", {.priority = 4});
  ch().confirms();
  ch().get(q());
  ch().nack(ch().get(q(), false)->tag);
  ch().await_ready(q(), 2);
  EXPECT_EQ(ch().get_all(q()), numbered(1, 2));
}

TEST_P(PriorityTest, ConsumersOfHigherPriorityAreServedWhileTheyCan) {
  ch().declare(q(), {.exclusive = true});
  ch().qos(2);
  ch().consume(q(), {.tag = "low", .arguments = {{"x-priority", -1}}});
  ch().consume(q(), {.tag = "high", .arguments = {{"x-priority", 10}}});
  ch().consume(q(), {.tag = "default"});
  std::vector<std::string> tags;
  for (const auto& body : numbered(1, 6)) {
    ch().publish(q(), body);
    tags.push_back(ch().delivery().consumer_tag);
  }
  EXPECT_THAT(tags, testing::ElementsAre("high", "high", "default", "default", "low", "low"));
}

TEST_P(PriorityTest, SingleActiveConsumerGetsAllUntilItLeaves) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-single-active-consumer", true}}});
  ch().consume(q(), {.tag = "first", .no_ack = true});
  ch().consume(q(), {.tag = "second", .no_ack = true});
  for (int i = 0; i < 4; ++i) {
    ch().publish(q(), "x");
    EXPECT_EQ(ch().delivery().consumer_tag, "first");
  }
  EXPECT_EQ(ch().declare(q(), {.passive = true}).consumers, 2U);
  ch().call(basic_cancel("first"));
  ch().publish(q(), "x");
  EXPECT_EQ(ch().delivery().consumer_tag, "second");
}

TEST_P(PriorityTest, SingleActiveConsumerThatIsBusyIsNotPassedOver) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-single-active-consumer", true}}});
  ch().qos(1);
  ch().consume(q(), {.tag = "first"});
  ch().consume(q(), {.tag = "second"});
  ch().publish(q(), "1");
  ch().publish(q(), "2");
  EXPECT_EQ(ch().delivery().consumer_tag, "first");
  ch().await_ready(q(), 1);
  ch().sync(q());
  ch().expect_nothing();
  ch().ack(1);
  EXPECT_EQ(ch().delivery().consumer_tag, "first");
}

TEST_P(PriorityTest, SingleActiveConsumerRefusesExclusiveConsumers) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-single-active-consumer", true}}});
  ch().refuses(basic_consume(q(), {.exclusive = true}), 403);
}

}  // namespace
}  // namespace postoffice::amqp_test
