#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// https://www.rabbitmq.com/docs/direct-reply-to
class ReplyToTest : public ChannelTest {
 protected:
  static constexpr const char* kPseudoQueue = "amq.rabbitmq.reply-to";
};
class ReplyToEmbeddedTest : public ReplyToTest {};
INSTANTIATE_ON_ENGINES(ReplyToTest);
INSTANTIATE_ON_EMBEDDED(ReplyToEmbeddedTest);

TEST_P(ReplyToTest, ReplyComesBackToTheRequester) {
  ch().declare(q());
  const std::string tag = ch().consume(kPseudoQueue, {.no_ack = true});
  ch().publish(q(), "request", {.correlation_id = "1", .reply_to = kPseudoQueue});
  Channel server = other_connection();
  server.await_ready(q(), 1);
  const Message request = *server.get(q());
  const std::string address = *request.properties.reply_to;
  EXPECT_THAT(address, testing::StartsWith(std::string(kPseudoQueue) + "."));
  server.declare(address, {.passive = true});  // The requester is still there.
  server.publish(address, "reply", {.correlation_id = "1"});
  const Message reply = ch().delivery();
  EXPECT_EQ(reply.body, "reply");
  EXPECT_EQ(reply.consumer_tag, tag);
  EXPECT_EQ(reply.exchange, "");
  EXPECT_EQ(reply.properties.correlation_id, "1");
}

TEST_P(ReplyToTest, WithAcksIs406) { ch().refuses(basic_consume(kPseudoQueue), 406); }

TEST_P(ReplyToTest, SecondConsumerIs406) {
  ch().consume(kPseudoQueue, {.no_ack = true});
  ch().refuses(basic_consume(kPseudoQueue, {.no_ack = true}), 406);
}

TEST_P(ReplyToTest, RequestWithoutConsumerIs406) {
  ch().publish(q(), "request", {.reply_to = kPseudoQueue});
  ch().expect_close(406, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(ReplyToTest, ReplyToARequesterThatLeftIsReturned) {
  ch().declare(q(), {.exclusive = true});
  Channel requester = client().channel(2);
  requester.consume(kPseudoQueue, {.no_ack = true});
  requester.publish(q(), "request", {.reply_to = kPseudoQueue});
  ch().await_ready(q(), 1);
  const std::string address = *ch().get(q())->properties.reply_to;
  requester.close();
  ch().refuses(queue_declare(address, {.passive = true}), 404);
  ch().publish("", address, "reply", {}, {.mandatory = true});
  EXPECT_EQ(ch().returned().reply_code, 312);
}

TEST_P(ReplyToTest, OtherReplyToIsLeftAlone) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "request", {.reply_to = "some queue"});
  ch().await_ready(q(), 1);
  EXPECT_EQ(ch().get(q())->properties.reply_to, "some queue");
}

// They were kept in memory without end.
// RabbitMQ: it keeps them.
TEST_P(ReplyToEmbeddedTest, RepliesToAClientThatDoesNotReadAreDropped) {
  ch().declare(q());
  ch().consume(kPseudoQueue, {.no_ack = true});
  ch().publish(q(), "request", {.reply_to = kPseudoQueue});
  Channel server = other_connection();
  server.await_ready(q(), 1);
  const std::string address = *server.get(q())->properties.reply_to;
  constexpr int kReplies = 80;  // Of 1 MiB: more than sockets and 16 MiB hold.
  const std::string body(1 << 20, 'x');
  for (int i = 0; i < kReplies; ++i) server.publish("", address, body);
  server.sync();
  server.publish("", address, "unheard");
  server.sync();
  int received = 0;
  ch().sync();
  while (client().has_event(1)) {
    EXPECT_EQ(ch().delivery().body.size(), body.size());
    ++received;
  }
  EXPECT_GE(received, 16);
  EXPECT_LT(received, kReplies);
  server.publish("", address, "heard");
  EXPECT_EQ(ch().delivery().body, "heard");
}

}  // namespace
}  // namespace postoffice::amqp_test
