#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// basic.publish, returns and confirms (https://www.rabbitmq.com/docs/confirms).
class PublishTest : public ChannelTest {
 protected:
  // Publishes it; the channel is closed with 406, and opened again.
  void refuses(const Properties& properties) {
    ch().publish(q(), "x", properties);
    ch().expect_close(406, AMQP_BASIC_PUBLISH_METHOD);
    ch().open();
  }
};
INSTANTIATE_ON_ENGINES(PublishTest);

TEST_P(PublishTest, MissingExchangeIs404) {
  ch().publish("no such exchange", "k", "x");
  ch().expect_close(404, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(PublishTest, InternalExchangeIs403) {
  const std::string x = exchange_name();
  ch().declare_exchange(x, "fanout", {.internal = true});
  ch().publish(x, "k", "x");
  ch().expect_close(403, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(PublishTest, ImmediateIs540) {
  ch().publish("", q(), "x", {}, {.immediate = true});
  client().expect_connection_close(540, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(PublishTest, UserIdMustBeTheUsers) {
  refuses({.user_id = "somebody"});
  ch().publish(q(), "x", {.user_id = "guest"});
  ch().sync();
}

TEST_P(PublishTest, BadExpirationIs406) {
  for (const char* expiration : {"", "soon", "-1", "1.5", "10s", "99999999999999"}) {
    SCOPED_TRACE(expiration);
    refuses({.expiration = expiration});
  }
}

TEST_P(PublishTest, CopyHeadersThatAreNoArraysAre406) {
  refuses({.headers = Table{{"CC", "elsewhere"}}});
  refuses({.headers = Table{{"BCC", 1}}});
}

TEST_P(PublishTest, MandatoryAndUnroutableIsReturnedBeforeItsAck) {
  ch().confirm_select();
  const Properties properties{.message_id = "7"};
  ch().publish("amq.direct", "nowhere " + q(), "body", properties, {.mandatory = true});
  const Message message = ch().returned_first();
  EXPECT_EQ(message.reply_code, 312);
  EXPECT_EQ(message.exchange, "amq.direct");
  EXPECT_EQ(message.key, "nowhere " + q());
  EXPECT_EQ(message.body, "body");
  EXPECT_TRUE(message.properties == properties);
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
}

TEST_P(PublishTest, MandatoryAndRoutedIsNotReturned) {
  ch().declare(q(), {.exclusive = true});
  ch().confirm_select();
  ch().publish("", q(), "body", {}, {.mandatory = true});
  ch().confirms();
  ch().expect_nothing();
}

TEST_P(PublishTest, UnroutableIsAcked) {
  ch().confirm_select();
  ch().publish("nowhere " + q(), "x");
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  ch().expect_nothing();
}

TEST_P(PublishTest, AlternateExchangeCountsAsRouted) {
  const std::string x = exchange_name();
  const std::string alternate = exchange_name("alternate");
  ch().declare_exchange(alternate, "fanout");
  ch().declare_exchange(x, "direct", {.arguments = {{"alternate-exchange", alternate}}});
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), alternate, "");
  ch().confirm_select();
  ch().publish(x, "unbound", "body", {}, {.mandatory = true});
  ch().confirms();
  ch().expect_nothing();
  const Message message = *ch().get(q());
  EXPECT_EQ(message.body, "body");
  EXPECT_EQ(message.exchange, x);
  EXPECT_EQ(message.key, "unbound");
}

TEST_P(PublishTest, AlternateExchangeThatRoutesNowhereReturns) {
  const std::string x = exchange_name();
  ch().declare_exchange(x, "direct", {.arguments = {{"alternate-exchange", "missing " + x}}});
  ch().publish(x, "unbound", "body", {}, {.mandatory = true});
  EXPECT_EQ(ch().returned().reply_code, 312);
}

TEST_P(PublishTest, AlternateExchangeIsNotUsedForWhatIsRouted) {
  const std::string x = exchange_name();
  ch().declare_exchange(x, "direct", {.arguments = {{"alternate-exchange", "amq.fanout"}}});
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), "amq.fanout", "");
  const std::string routed = queue_name("routed");
  ch().declare(routed, {.exclusive = true});
  ch().bind(routed, x, "k");
  ch().confirm_select();
  ch().publish(x, "k", "body");
  ch().confirms();
  EXPECT_EQ(ch().ready(routed), 1U);
  EXPECT_EQ(ch().ready(q()), 0U);
}

TEST_P(PublishTest, EveryTagIsSettledOnce) {
  ch().declare(q(), {.durable = true});
  const std::string transient = queue_name("transient");
  ch().declare(transient, {.exclusive = true});
  ch().confirm_select();
  for (int i = 0; i < 1000; ++i) {  // Durable, transient, unroutable, in turn.
    ch().publish(i % 3 == 0   ? q()
                 : i % 3 == 1 ? transient
                              : "nowhere " + q(),
                 "x", i % 2 == 0 ? persistent() : Properties{});
  }
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  EXPECT_EQ(ch().ready(q()), 334U);
  ch().expect_nothing();
}

TEST_P(PublishTest, EachPublishAloneIsSettled) {
  ch().declare(q(), {.durable = true});
  ch().confirm_select();
  for (int i = 0; i < 5; ++i) {
    ch().publish(q(), "x", persistent());
    ch().confirms();
  }
}

TEST_P(PublishTest, TagsCountFromSelectAndPerChannel) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "before");
  ch().confirm_select();
  ch().publish(q(), "1");
  Channel other = client().channel(2);
  other.confirm_select();
  other.publish(q(), "1 too");
  ch().confirms();
  other.confirms();
  EXPECT_EQ(ch().ready(q()), 3U);
}

TEST_P(PublishTest, SelectingTwiceIsFine) {
  ch().confirm_select();
  ch().call(confirm_select());
  ch().publish("nowhere " + q(), "x");
  ch().confirms();
}

TEST_P(PublishTest, RejectPublishNacks) {
  ch().declare(q(), {.exclusive = true,
                     .arguments = {{"x-max-length", 2}, {"x-overflow", "reject-publish"}}});
  ch().confirm_select();
  ch().publish(q(), "1");
  ch().publish(q(), "2");
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  ch().publish(q(), "3");
  EXPECT_THAT(ch().confirms(), testing::ElementsAre(3));
  EXPECT_EQ(ch().get_all(q()), numbered(1, 2));
}

TEST_P(PublishTest, OverflowDropsTheHeadByDefault) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-max-length", 2}}});
  ch().confirm_select();
  for (const auto& body : numbered(1, 5)) ch().publish(q(), body);
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  EXPECT_EQ(ch().get_all(q()), numbered(4, 5));
}

TEST_P(PublishTest, OverflowByBytes) {
  ch().declare(q(), {.exclusive = true,
                     .arguments = {{"x-max-length-bytes", 10}, {"x-overflow", "drop-head"}}});
  ch().confirm_select();
  for (const char* body : {"aaaa", "bbbb", "cc", "ddd"}) ch().publish(q(), body);
  ch().confirms();
  EXPECT_EQ(ch().get_all(q()), (std::vector<std::string>{"bbbb", "cc", "ddd"}));
}

TEST_P(PublishTest, LengthCountsReadyMessagesOnly) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-max-length", 1}}});
  ch().consume(q());
  ch().publish(q(), "1");
  ch().publish(q(), "2");
  EXPECT_EQ(ch().deliveries(2), numbered(1, 2));
}

}  // namespace
}  // namespace postoffice::amqp_test
