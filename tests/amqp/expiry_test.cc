#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Time to live of messages and queues (https://www.rabbitmq.com/docs/ttl).
class ExpiryTest : public ChannelTest {
 protected:
  void SetUp() override {
    ChannelTest::SetUp();
    if (!IsSkipped()) ch().confirm_select();
  }

  // Waits until what was published has reached its queues, and until none is ready there.
  void await_expired(const std::string& queue) {
    ch().confirms();
    ch().await_ready(queue, 0);
  }
  // Returns when a message with a TTL of `millis`, published now, has expired.
  void let_expire(int millis) {
    const std::string clock = queue_name("clock" + std::to_string(++clocks_));
    ch().declare(clock, {.exclusive = true});
    ch().publish(clock, "tick", {.expiration = std::to_string(millis)});
    await_expired(clock);
  }

 private:
  int clocks_ = 0;
};
INSTANTIATE_ON_ENGINES(ExpiryTest);

TEST_P(ExpiryTest, MessagesExpireByTheirQueue) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-message-ttl", 100}}});
  const auto begin = SteadyClock::now();
  for (const auto& body : numbered(1, 3)) ch().publish(q(), body);
  await_expired(q());
  EXPECT_GE(SteadyClock::now() - begin, Millis(100));
}

TEST_P(ExpiryTest, MessagesExpireByThemselves) {
  ch().declare(q(), {.exclusive = true});
  const auto begin = SteadyClock::now();
  ch().publish(q(), "x", {.expiration = "100"});
  await_expired(q());
  EXPECT_GE(SteadyClock::now() - begin, Millis(100));
}

TEST_P(ExpiryTest, TheLowerOfBothCounts) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-message-ttl", 100}}});
  ch().publish(q(), "x", {.expiration = "60000"});
  const std::string patient = queue_name("patient");
  ch().declare(patient, {.exclusive = true, .arguments = {{"x-message-ttl", 60000}}});
  ch().publish(patient, "x", {.expiration = "100"});
  await_expired(q());
  await_expired(patient);
}

TEST_P(ExpiryTest, OwnTtlExpiresAtTheHeadOnly) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "stays");
  ch().publish(q(), "expires", {.expiration = "1"});
  ch().await_ready(q(), 2);
  let_expire(20);
  EXPECT_EQ(ch().ready(q()), 2U);
  EXPECT_EQ(ch().get(q())->body, "stays");
  ch().await_ready(q(), 0);
}

TEST_P(ExpiryTest, ExpiredIsNotDelivered) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "stays");
  ch().publish(q(), "expires", {.expiration = "1"});
  ch().publish(q(), "stays too");
  ch().await_ready(q(), 3);
  let_expire(20);
  ch().consume(q(), {.no_ack = true});
  EXPECT_EQ(ch().deliveries(2), (std::vector<std::string>{"stays", "stays too"}));
}

TEST_P(ExpiryTest, UnacknowledgedMessagesExpireAfterRequeue) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-message-ttl", 20}}});
  ch().consume(q());
  ch().publish(q(), "x");
  const Message message = ch().delivery();
  ch().call(basic_cancel(message.consumer_tag));
  let_expire(60);
  ch().nack(message.tag);
  ch().await_ready(q(), 0);
  ch().sync(q());
  EXPECT_FALSE(ch().get(q()).has_value());
}

TEST_P(ExpiryTest, ZeroIsDeliveredIfAConsumerWaits) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "dropped", {.expiration = "0"});
  await_expired(q());
  ch().consume(q());
  ch().publish(q(), "delivered", {.expiration = "0"});
  EXPECT_EQ(ch().delivery().body, "delivered");
}

TEST_P(ExpiryTest, ZeroOfTheQueueIsDeliveredIfAConsumerWaits) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-message-ttl", 0}}});
  ch().publish(q(), "dropped");
  await_expired(q());
  ch().consume(q());
  ch().publish(q(), "delivered");
  EXPECT_EQ(ch().delivery().body, "delivered");
}

TEST_P(ExpiryTest, UnusedQueueExpires) {
  const auto begin = SteadyClock::now();
  ch().declare(q(), {.arguments = {{"x-expires", 150}}});
  ch().await_unroutable(q());
  EXPECT_GE(SteadyClock::now() - begin, Millis(150));
}

TEST_P(ExpiryTest, ConsumersKeepAQueue) {
  ch().declare(q(), {.arguments = {{"x-expires", 2000}}});
  Channel consumer = client().channel(2);
  consumer.consume(q());
  let_expire(2500);
  ch().publish(q(), "x");
  EXPECT_EQ(consumer.delivery().body, "x");
  consumer.close();
  ch().await_unroutable(q());
}

TEST_P(ExpiryTest, GetAndRedeclareKeepAQueue) {
  ch().declare(q(), {.arguments = {{"x-expires", 4000}}});
  for (const auto& body : numbered(1, 2)) ch().publish(q(), body);
  let_expire(1500);
  EXPECT_EQ(ch().get(q())->body, "1");
  let_expire(1500);
  ch().declare(q(), {.arguments = {{"x-expires", 4000}}});
  let_expire(1500);
  EXPECT_EQ(ch().get(q())->body, "2");  // Still the same queue.
}

}  // namespace
}  // namespace postoffice::amqp_test
