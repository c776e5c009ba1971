#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Consumers, their prefetch and their end; AMQP 0-9-1 section 1.8.
class ConsumeTest : public ChannelTest {
 protected:
  void publish_numbers(int first, int last) {
    for (const auto& body : numbered(first, last)) ch().publish(q(), body);
  }
};
INSTANTIATE_ON_ENGINES(ConsumeTest);

TEST_P(ConsumeTest, DeliversInOrderWithTagsFromOne) {
  ch().declare(q(), {.exclusive = true});
  publish_numbers(1, 100);
  EXPECT_EQ(ch().consume(q(), {.tag = "mine"}), "mine");
  for (uint64_t tag = 1; tag <= 100; ++tag) {
    const Message message = ch().delivery();
    EXPECT_EQ(message.tag, tag);
    EXPECT_EQ(message.body, std::to_string(tag));
    EXPECT_EQ(message.consumer_tag, "mine");
    EXPECT_EQ(message.exchange, "");
    EXPECT_EQ(message.key, q());
    EXPECT_FALSE(message.redelivered);
  }
}

TEST_P(ConsumeTest, ServerNamesConsumers) {
  ch().declare(q(), {.exclusive = true});
  const std::string first = ch().consume(q());
  EXPECT_THAT(first, testing::StartsWith("amq.ctag-"));
  EXPECT_NE(ch().consume(q()), first);
}

TEST_P(ConsumeTest, DuplicateTagIs530) {
  ch().declare(q(), {.exclusive = true});
  ch().consume(q(), {.tag = "t"});
  ch().closes_connection(basic_consume(q(), {.tag = "t"}), 530);
}

TEST_P(ConsumeTest, TagsAreOfTheirChannel) {
  ch().declare(q(), {.exclusive = true});
  ch().consume(q(), {.tag = "t"});
  client().channel(2).consume(q(), {.tag = "t"});
}

TEST_P(ConsumeTest, CancelEndsDeliveriesAndRequeuesNothing) {
  ch().declare(q(), {.exclusive = true});
  publish_numbers(1, 1);
  const std::string tag = ch().consume(q());
  const Message message = ch().delivery();
  ch().call(basic_cancel(tag));
  publish_numbers(2, 2);
  ch().await_ready(q(), 1);
  ch().sync(q());
  ch().expect_nothing();
  ch().ack(message.tag);  // Still possible.
  EXPECT_EQ(ch().get_all(q()), numbered(2, 2));
}

TEST_P(ConsumeTest, CancellingAnUnknownTagIsFine) {
  EXPECT_EQ(to_string(ch().call(basic_cancel("nobody")).as<amqp_basic_cancel_ok_t>().consumer_tag),
            "nobody");
}

TEST_P(ConsumeTest, CancelledTagIsReusable) {
  ch().declare(q(), {.exclusive = true});
  for (int i = 0; i < 3; ++i) {
    ch().consume(q(), {.tag = "t"});
    ch().call(basic_cancel("t"));
  }
}

TEST_P(ConsumeTest, DeletedQueueCancelsItsConsumers) {
  ch().declare(q());
  const std::string tag = ch().consume(q());
  Channel other = other_connection();
  other.call(queue_delete(q()));
  EXPECT_EQ(to_string(ch().take(AMQP_BASIC_CANCEL_METHOD).as<amqp_basic_cancel_t>().consumer_tag),
            tag);
  ch().sync();
}

TEST_P(ConsumeTest, CancelNotificationGoesToClientsThatDeclaredItOnly) {
  ch().declare(q());
  Channel unaware = open_client({.capabilities = {}}).channel(1);
  unaware.consume(q());
  ch().consume(q());
  ch().call(queue_delete(q()));
  ch().take(AMQP_BASIC_CANCEL_METHOD);
  unaware.sync();
  unaware.sync();
  unaware.expect_nothing();
}

TEST_P(ConsumeTest, PrefetchSizeIs540) { ch().closes_connection(basic_qos(1, false, 1), 540); }
TEST_P(ConsumeTest, RecoverWithoutRequeueIs540) {
  ch().closes_connection(basic_recover(false), 540);
}
TEST_P(ConsumeTest, FlowOffIs540) { ch().closes_connection(channel_flow(false), 540); }

TEST_P(ConsumeTest, PrefetchIsPerConsumer) {
  ch().declare(q(), {.exclusive = true});
  ch().qos(2);
  ch().consume(q(), {.tag = "a"});
  publish_numbers(1, 6);
  EXPECT_EQ(ch().deliveries(2), numbered(1, 2));
  ch().await_ready(q(), 4);
  ch().consume(q(), {.tag = "b"});
  EXPECT_EQ(ch().deliveries(2), numbered(3, 4));
  ch().sync(q());
  ch().expect_nothing();
  ch().ack(1);
  const Message next = ch().delivery();
  EXPECT_EQ(next.body, "5");
  EXPECT_EQ(next.consumer_tag, "a");
  EXPECT_EQ(ch().ready(q()), 1U);
}

TEST_P(ConsumeTest, PrefetchIsForConsumersStartedLater) {
  ch().declare(q(), {.exclusive = true});
  ch().consume(q(), {.tag = "unlimited"});
  ch().qos(1);
  publish_numbers(1, 5);
  EXPECT_EQ(ch().deliveries(5), numbered(1, 5));
}

TEST_P(ConsumeTest, GlobalPrefetchIsSharedByTheChannel) {
  const std::string second = queue_name("second");
  ch().declare(q(), {.exclusive = true});
  ch().declare(second, {.exclusive = true});
  publish_numbers(1, 3);
  for (const auto& body : numbered(4, 6)) ch().publish(second, body);
  ch().await_ready(q(), 3);
  ch().await_ready(second, 3);
  ch().qos(3, true);
  ch().consume(q());
  ch().consume(second);
  const auto bodies = ch().deliveries(3);
  ch().sync(q());
  ch().sync(second);
  ch().expect_nothing();
  EXPECT_EQ(ch().ready(q()) + ch().ready(second), 3U);
  ch().ack(0, true);
  ch().deliveries(3);
}

TEST_P(ConsumeTest, NoAckIgnoresPrefetch) {
  ch().declare(q(), {.exclusive = true});
  ch().qos(1);
  ch().consume(q(), {.no_ack = true});
  publish_numbers(1, 10);
  EXPECT_EQ(ch().deliveries(10), numbered(1, 10));
  ch().refuses(basic_ack(1), 406);
}

TEST_P(ConsumeTest, GetIgnoresPrefetch) {
  ch().declare(q(), {.exclusive = true});
  publish_numbers(1, 3);
  ch().await_ready(q(), 3);
  ch().qos(1);
  for (uint64_t tag = 1; tag <= 3; ++tag) EXPECT_EQ(ch().get(q(), false)->tag, tag);
}

TEST_P(ConsumeTest, GetSaysHowManyAreLeft) {
  ch().declare(q(), {.exclusive = true});
  EXPECT_FALSE(ch().get(q()).has_value());
  publish_numbers(1, 2);
  ch().await_ready(q(), 2);
  const Message first = *ch().get(q());
  EXPECT_EQ(first.message_count, 1U);
  EXPECT_FALSE(first.redelivered);
  EXPECT_EQ(ch().get(q())->message_count, 0U);
}

TEST_P(ConsumeTest, ConsumersTakeTurns) {
  ch().declare(q(), {.exclusive = true});
  for (const char* tag : {"a", "b", "c"}) ch().consume(q(), {.tag = tag, .no_ack = true});
  std::string order;
  for (const auto& body : numbered(1, 6)) {
    ch().publish(q(), body);
    order += ch().delivery().consumer_tag;
  }
  EXPECT_EQ(order.substr(0, 3), order.substr(3));
  EXPECT_THAT(order.substr(0, 3), testing::UnorderedElementsAre('a', 'b', 'c'));
}

TEST_P(ConsumeTest, DroppedConnectionRequeuesInOrder) {
  ch().declare(q());
  publish_numbers(1, 5);
  ch().await_ready(q(), 5);
  Client& vanishing = open_client();
  Channel consumer = vanishing.channel(1);
  consumer.consume(q());
  consumer.deliveries(5);
  vanishing.drop();
  ch().await_ready(q(), 5);
  EXPECT_EQ(ch().get_all(q()), numbered(1, 5));
}

TEST_P(ConsumeTest, BadConsumerArgumentIs406) {
  ch().declare(q(), {.exclusive = true});
  ch().refuses(basic_consume(q(), {.arguments = {{"x-priority", "high"}}}), 406);
}

}  // namespace
}  // namespace postoffice::amqp_test
