#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Opening and closing channels; AMQP 0-9-1 section 1.5.
class ChannelsTest : public ChannelTest {};
INSTANTIATE_ON_ENGINES(ChannelsTest);

TEST_P(ChannelsTest, OpenTwiceIs504) { ch().closes_connection(channel_open(), 504); }

TEST_P(ChannelsTest, MethodOnAnUnopenedChannelIs504) {
  client().send(2, queue_declare(q()));
  client().expect_connection_close(504, AMQP_QUEUE_DECLARE_METHOD);
}

TEST_P(ChannelsTest, MethodOnAClosedChannelIs504) {
  ch().close();
  client().send(1, queue_declare(q()));
  client().expect_connection_close(504, AMQP_QUEUE_DECLARE_METHOD);
}

TEST_P(ChannelsTest, NumberIsReusableAfterTheClientCloses) {
  for (int i = 0; i < 3; ++i) {
    ch().close();
    ch().open();
  }
  ch().sync();
}

TEST_P(ChannelsTest, FramesAreIgnoredBetweenTheServersCloseAndCloseOk) {
  ch().send(queue_declare(q(), {.passive = true}));
  // None of these is handled, and none is an error.
  ch().publish("no such exchange", "", "body");
  ch().send(queue_declare(q()));
  ch().send(basic_ack(77));
  ch().expect_close(404, AMQP_QUEUE_DECLARE_METHOD);
  ch().open();
  ch().refuses(queue_declare(q(), {.passive = true}), 404);
  ch().sync();
}

TEST_P(ChannelsTest, CloseCrossingTheServersCloseIsAnswered) {
  ch().send(queue_declare(q(), {.passive = true}));
  ch().send(channel_close());
  ch().expect_close(404, AMQP_QUEUE_DECLARE_METHOD);
  ch().take(AMQP_CHANNEL_CLOSE_OK_METHOD);
  ch().open();
  ch().sync();
}

TEST_P(ChannelsTest, ChannelErrorLeavesOtherChannels) {
  Channel other = client().channel(2);
  other.declare(q(), {.exclusive = true});
  ch().refuses(queue_declare("no such queue", {.passive = true}), 404);
  other.publish(q(), "still here");
  other.sync(q());
  EXPECT_EQ(other.get(q())->body, "still here");
}

TEST_P(ChannelsTest, ConnectionErrorClosesAllChannels) {
  client().channel(2);
  ch().send(channel_flow(false));
  client().expect_connection_close(540, AMQP_CHANNEL_FLOW_METHOD);
}

TEST_P(ChannelsTest, FlowOnIsAnswered) {
  const Event event = ch().call(channel_flow(true));
  EXPECT_EQ(event.as<amqp_channel_flow_ok_t>().active, 1);
}

TEST_P(ChannelsTest, ClosingRequeuesWhatWasNotAcknowledged) {
  ch().declare(q(), {.exclusive = true});
  for (const auto& body : numbered(1, 3)) ch().publish(q(), body);
  Channel consumer = client().channel(2);
  consumer.consume(q());
  EXPECT_EQ(consumer.deliveries(3), numbered(1, 3));
  consumer.ack(2);
  consumer.close();
  ch().await_ready(q(), 2);
  const auto first = ch().get(q());
  EXPECT_EQ(first->body, "1");
  EXPECT_TRUE(first->redelivered);
  EXPECT_EQ(ch().get_all(q()), (std::vector<std::string>{"3"}));
}

TEST_P(ChannelsTest, ContentOfSeveralChannelsMayInterleave) {
  client().channel(2);
  ch().declare(q(), {.exclusive = true});
  client().send(1, basic_publish("", q()));
  client().send(2, basic_publish("", q()));
  client().send_header(2, 6);
  client().send_header(1, 6);
  client().send_frame(AMQP_FRAME_BODY, 1, "one");
  client().send_frame(AMQP_FRAME_BODY, 2, "two");
  client().send_frame(AMQP_FRAME_BODY, 2, "TWO");
  client().send_frame(AMQP_FRAME_BODY, 1, "ONE");
  ch().await_ready(q(), 2);
  EXPECT_THAT(ch().get_all(q()), testing::UnorderedElementsAre("oneONE", "twoTWO"));
}

}  // namespace
}  // namespace postoffice::amqp_test
