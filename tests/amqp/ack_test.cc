#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Settling deliveries; AMQP 0-9-1 section 1.8 and RabbitMQ's basic.nack.
class AckTest : public ChannelTest {
 protected:
  // Publishes that many and takes them with a consumer or with get, unacknowledged.
  void outstanding(int count) {
    ch().declare(q());
    for (const auto& body : numbered(1, count)) ch().publish(q(), body);
    ch().await_ready(q(), static_cast<uint32_t>(count));
    for (int i = 0; i < count; ++i) ch().get(q(), false);
  }
};
INSTANTIATE_ON_ENGINES(AckTest);

TEST_P(AckTest, UnknownTagIs406) {
  outstanding(1);
  ch().refuses(basic_ack(2), 406);
  ch().refuses(basic_nack(1), 406);
  ch().refuses(basic_reject(1, true), 406);
}

TEST_P(AckTest, TagSettledTwiceIs406) {
  outstanding(3);
  ch().ack(1);
  ch().refuses(basic_ack(1), 406);
  ch().await_ready(q(), 2);
}

TEST_P(AckTest, MultipleOverTagsSettledBeforeIs406) {
  outstanding(2);
  ch().ack(2, true);
  ch().refuses(basic_ack(1), 406);
}

TEST_P(AckTest, TagZeroWithoutMultipleIs406) {
  outstanding(1);
  ch().refuses(basic_ack(0), 406);
}

TEST_P(AckTest, MultiplePastTheLastTagIs406) {
  outstanding(2);
  ch().refuses(basic_ack(3, true), 406);
  ch().await_ready(q(), 2);
}

TEST_P(AckTest, TagZeroWithMultipleIsAll) {
  outstanding(3);
  ch().ack(0, true);
  ch().ack(0, true);  // Nothing outstanding: fine.
  ch().close();
  ch().open();
  EXPECT_EQ(ch().ready(q()), 0U);
}

TEST_P(AckTest, TagsArePerChannel) {
  outstanding(1);
  Channel other = client().channel(2);
  other.refuses(basic_ack(1), 406);
  ch().ack(1);
  ch().sync();
}

TEST_P(AckTest, MultipleSettlesUpToItsTag) {
  outstanding(5);
  ch().ack(3, true);
  ch().close();
  ch().open();
  ch().await_ready(q(), 2);
  EXPECT_EQ(ch().get_all(q()), numbered(4, 5));
}

TEST_P(AckTest, RequeueRestoresThePositionAndSetsRedelivered) {
  outstanding(4);
  ch().publish(q(), "5");
  ch().await_ready(q(), 1);
  ch().send(basic_reject(2, true));
  ch().nack(4);
  ch().await_ready(q(), 3);
  for (const char* body : {"2", "4"}) {
    const Message message = *ch().get(q());
    EXPECT_EQ(message.body, body);
    EXPECT_TRUE(message.redelivered);
  }
  const Message fresh = *ch().get(q());
  EXPECT_EQ(fresh.body, "5");
  EXPECT_FALSE(fresh.redelivered);
}

TEST_P(AckTest, NackMultipleRequeuesUpToItsTag) {
  outstanding(4);
  ch().nack(3, {.multiple = true});
  ch().await_ready(q(), 3);
  EXPECT_EQ(ch().get_all(q()), numbered(1, 3));
  ch().nack(0, {.multiple = true});
  ch().await_ready(q(), 1);
}

TEST_P(AckTest, NackAndRejectWithoutRequeueDrop) {
  outstanding(3);
  ch().nack(2, {.multiple = true, .requeue = false});
  ch().send(basic_reject(3, false));
  ch().close();
  ch().open();
  EXPECT_EQ(ch().ready(q()), 0U);
}

TEST_P(AckTest, RequeuedMessageGoesBackToTheConsumer) {
  ch().declare(q(), {.exclusive = true});
  ch().consume(q());
  ch().publish(q(), "body");
  ch().nack(ch().delivery().tag);
  const Message again = ch().delivery();
  EXPECT_EQ(again.tag, 2U);
  EXPECT_TRUE(again.redelivered);
}

TEST_P(AckTest, RecoverRequeuesAllOfTheChannel) {
  outstanding(3);
  ch().ack(2);
  ch().call(basic_recover(true));
  ch().await_ready(q(), 2);
  const Message first = *ch().get(q());
  EXPECT_EQ(first.body, "1");
  EXPECT_TRUE(first.redelivered);
  EXPECT_EQ(ch().get(q())->body, "3");
  ch().refuses(basic_ack(1), 406);
}

TEST_P(AckTest, RecoverAsyncIsNotAnswered) {
  outstanding(1);
  ch().send(basic_recover_async(true));
  ch().await_ready(q(), 1);
  ch().expect_nothing();
}

}  // namespace
}  // namespace postoffice::amqp_test
