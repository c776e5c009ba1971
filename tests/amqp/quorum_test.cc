#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Queues of x-queue-type quorum (https://www.rabbitmq.com/docs/quorum-queues).
class QuorumTest : public ChannelTest {
 protected:
  void declare(Table arguments = {}) {
    arguments.push_back({"x-queue-type", "quorum"});
    ch().declare(q(), {.durable = true, .arguments = arguments});
    ch().confirm_select();
  }
};
INSTANTIATE_ON_ENGINES(QuorumTest);

TEST_P(QuorumTest, PublishesConfirmsAndDelivers) {
  declare();
  for (const auto& body : numbered(1, 10)) ch().publish(q(), body, persistent());
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  ch().qos(3);
  ch().consume(q());
  for (const auto& body : numbered(1, 10)) {
    const Message message = ch().delivery();
    EXPECT_EQ(message.body, body);
    EXPECT_FALSE(message.redelivered);
    ch().ack(message.tag);
  }
  ch().await_ready(q(), 0);
}

TEST_P(QuorumTest, CountsDeliveries) {
  declare();
  ch().publish(q(), "body");
  ch().confirms();
  ch().consume(q());
  const Message first = ch().delivery();
  EXPECT_FALSE(first.properties.headers && find(first.headers(), "x-delivery-count") != nullptr);
  ch().nack(first.tag);
  for (int64_t count = 1; count <= 3; ++count) {
    const Message again = ch().delivery();
    EXPECT_TRUE(again.redelivered);
    EXPECT_EQ(integer_of(again.headers(), "x-delivery-count"), count);
    ch().nack(again.tag);
  }
}

TEST_P(QuorumTest, DeliveryLimitDeadLetters) {
  const std::string dead = queue_name("dead");
  ch().declare(dead, {.exclusive = true});
  declare({{"x-delivery-limit", 2},
           {"x-dead-letter-exchange", ""},
           {"x-dead-letter-routing-key", dead}});
  ch().publish(q(), "poison");
  ch().confirms();
  ch().consume(q());
  for (int i = 0; i < 3; ++i) ch().nack(ch().delivery().tag);
  ch().await_ready(dead, 1);
  const Message message = *ch().get(dead);
  EXPECT_EQ(text_of(message.headers(), "x-first-death-reason"), "delivery_limit");
  const Table& death = find(message.headers(), "x-death")->array.at(0).table;
  EXPECT_EQ(text_of(death, "reason"), "delivery_limit");
  EXPECT_EQ(text_of(death, "queue"), q());
}

TEST_P(QuorumTest, DeliveryLimitWithoutDeadLettersDrops) {
  declare({{"x-delivery-limit", 1}});
  ch().publish(q(), "poison");
  ch().publish(q(), "good");
  ch().confirms();
  ch().qos(1);
  ch().consume(q());
  for (int i = 0; i < 2; ++i) {
    const Message message = ch().delivery();
    EXPECT_EQ(message.body, "poison");
    ch().nack(message.tag);
  }
  EXPECT_EQ(ch().delivery().body, "good");
}

TEST_P(QuorumTest, DroppedConsumersCountAsDeliveries) {
  declare();
  ch().publish(q(), "body");
  ch().confirms();
  Client& vanishing = open_client();
  Channel consumer = vanishing.channel(1);
  consumer.consume(q());
  consumer.delivery();
  vanishing.drop();
  ch().consume(q());
  EXPECT_EQ(integer_of(ch().delivery().headers(), "x-delivery-count"), 1);
}

TEST_P(QuorumTest, GetAndPurge) {
  declare();
  for (const auto& body : numbered(1, 3)) ch().publish(q(), body);
  ch().confirms();
  ch().await_ready(q(), 3);
  EXPECT_EQ(ch().get(q())->body, "1");
  EXPECT_EQ(ch().call(queue_purge(q())).as<amqp_queue_purge_ok_t>().message_count, 2U);
}

TEST_P(QuorumTest, OverflowRejectsPublishes) {
  declare({{"x-max-length", 2}, {"x-overflow", "reject-publish"}});
  // The limit may be passed by what is on its way.
  size_t nacked = 0;
  for (int i = 0; i < 20; ++i) {
    ch().publish(q(), "x");
    nacked += ch().confirms().size();
  }
  EXPECT_GT(nacked, 0U);
  EXPECT_LT(nacked, 19U);
}

TEST_P(QuorumTest, SingleActiveConsumer) {
  declare({{"x-single-active-consumer", true}});
  ch().consume(q(), {.tag = "first"});
  ch().consume(q(), {.tag = "second"});
  for (int i = 0; i < 3; ++i) {
    ch().publish(q(), "x");
    EXPECT_EQ(ch().delivery().consumer_tag, "first");
  }
}

TEST_P(QuorumTest, GlobalPrefetchIs540) {
  declare();
  ch().qos(10, true);
  ch().closes_connection(basic_consume(q()), 540);
}

}  // namespace
}  // namespace postoffice::amqp_test
