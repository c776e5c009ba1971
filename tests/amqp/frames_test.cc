#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// AMQP 0-9-1 sections 2.3.5 and 4.2.
class FramesTest : public EngineTest {
 protected:
  Client& with_channel() {
    Client& client = open_client();
    client.channel(1);
    return client;
  }
};
class FramesEmbeddedTest : public FramesTest {};
INSTANTIATE_ON_ENGINES(FramesTest);
INSTANTIATE_ON_EMBEDDED(FramesEmbeddedTest);

// RabbitMQ answers after 3 s, and tolerates 8 bytes over frame-max.
TEST_P(FramesTest, MalformedFramesAre501) {
  Client& bad_end = with_channel();
  bad_end.send_frame(AMQP_FRAME_METHOD, 1, payload_of(channel_close()), 0xCD);
  Client& no_frame = with_channel();
  no_frame.send_bytes(std::string(100, '\x7F'));
  Client& too_large = open_client({.frame_max = 4096});
  too_large.channel(1);
  too_large.send(1, basic_publish("", "nowhere"));
  too_large.send_header(1, 4097);
  too_large.send_frame(AMQP_FRAME_BODY, 1, std::string(4097, 'x'));
  for (Client* client : {&bad_end, &no_frame, &too_large}) client->expect_connection_close(501, 0);
}

TEST_P(FramesTest, LargestFrameIsTaken) {
  Client& client = open_client({.frame_max = 4096});
  Channel channel = client.channel(1);
  client.send(1, basic_publish("", "nowhere"));
  client.send_header(1, 4088);
  client.send_frame(AMQP_FRAME_BODY, 1, std::string(4096 - 8, 'x'));
  channel.sync();
}

TEST_P(FramesTest, UnknownFrameTypeIs501) {
  Client& client = with_channel();
  client.send_frame(5, 1, "?");
  client.expect_connection_close(501, 0);
}

TEST_P(FramesTest, MethodInPlaceOfContentIs505) {
  Client& client = with_channel();
  client.send(1, basic_publish("", "nowhere"));
  client.send(1, basic_publish("", "nowhere"));
  client.expect_connection_close(505, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(FramesTest, MethodInPlaceOfBodyIs505) {
  Client& client = with_channel();
  client.send(1, basic_publish("", "nowhere"));
  client.send_header(1, 10);
  client.send_frame(AMQP_FRAME_BODY, 1, "half.");
  client.send(1, queue_declare("", {.passive = true}));
  client.expect_connection_close(505, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(FramesTest, HeaderInPlaceOfMethodIs505) {
  Client& client = with_channel();
  client.send_header(1, 1);
  client.expect_connection_close(505, 0);
}

TEST_P(FramesTest, BodyInPlaceOfMethodIs505) {
  Client& client = with_channel();
  client.send_frame(AMQP_FRAME_BODY, 1, "body");
  client.expect_connection_close(505, 0);
}

TEST_P(FramesTest, BodyInPlaceOfHeaderIs505) {
  Client& client = with_channel();
  client.send(1, basic_publish("", "nowhere"));
  client.send_frame(AMQP_FRAME_BODY, 1, "body");
  client.expect_connection_close(505, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(FramesTest, SecondHeaderIs505) {
  Client& client = with_channel();
  client.send(1, basic_publish("", "nowhere"));
  client.send_header(1, 1);
  client.send_header(1, 1);
  client.expect_connection_close(505, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(FramesTest, HeaderOfAnotherClassIs505) {
  Client& client = with_channel();
  client.send(1, basic_publish("", "nowhere"));
  client.send_header(1, 1, {}, 50);
  client.expect_connection_close(505, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(FramesTest, HeartbeatOnAChannelIs505) {
  Client& client = with_channel();
  client.send_frame(AMQP_FRAME_HEARTBEAT, 1, "");
  client.expect_connection_close(505, 0);
}

TEST_P(FramesTest, TruncatedArgumentsAre501) {
  const std::string whole = payload_of(queue_declare("no such queue", {.passive = true}));
  for (const size_t size : {size_t{4}, size_t{6}, size_t{12}, whole.size() - 1}) {
    SCOPED_TRACE(size);
    Client& client = with_channel();
    client.send_frame(AMQP_FRAME_METHOD, 1, whole.substr(0, size));
    client.expect_connection_close(501, AMQP_QUEUE_DECLARE_METHOD);
  }
}

TEST_P(FramesTest, TruncatedMethodIdEndsTheConnection) {
  Client& client = with_channel();
  client.send_frame(AMQP_FRAME_METHOD, 1, "\0\x32");
  client.expect_end({501, 502, 503, 540, 541});
}

TEST_P(FramesTest, UnknownMethodEndsTheConnection) {
  for (const amqp_method_number_t id : {0x003200FFU, 0x00630001U}) {
    Client& client = with_channel();
    client.send(1, {id, ""});
    client.expect_end({503, 540});
  }
}

// RabbitMQ: it waits for ever.
TEST_P(FramesEmbeddedTest, BodyLongerThanAnnouncedIs501) {
  Client& client = with_channel();
  client.send(1, basic_publish("", "nowhere"));
  client.send_header(1, 3);
  client.send_frame(AMQP_FRAME_BODY, 1, "four");
  client.expect_connection_close(501, AMQP_BASIC_PUBLISH_METHOD);
}

TEST_P(FramesTest, SilentClientIsDroppedAndOneWithHeartbeatsIsNot) {
  Client& lively = open_client({.heartbeat_s = 3});
  const auto begin = SteadyClock::now();
  Client& silent = open_client({.heartbeat_s = 3});
  // Both read the server's heartbeats; one answers.
  int heartbeats = 0;
  bool dropped = false;
  while (!dropped) {
    const Frame frame = lively.read_frame();
    ASSERT_EQ(frame.type, AMQP_FRAME_HEARTBEAT);
    EXPECT_EQ(frame.channel, 0);
    EXPECT_EQ(frame.payload, "");
    ++heartbeats;
    lively.send_frame(AMQP_FRAME_HEARTBEAT, 0, "");
    dropped = silent.has_ended();
    ASSERT_LT(SteadyClock::now() - begin, Millis(25'000));
  }
  const auto after = SteadyClock::now() - begin;
  EXPECT_GT(after, Millis(5900));
  EXPECT_LT(after, Millis(25'000));
  EXPECT_GE(heartbeats, 2);
  lively.channel(1).sync();
}

// Some clients give up after an interval without anything: whatever else was sent just before, the
// next one comes within less.
TEST_P(FramesEmbeddedTest, HeartbeatsKeepTheirPaceBesideOtherTraffic) {
  Client& client = open_client({.heartbeat_s = 6});
  const auto opened = SteadyClock::now();
  EXPECT_EQ(client.read_frame().type, AMQP_FRAME_HEARTBEAT);
  EXPECT_LT(SteadyClock::now() - opened, Millis(5900));
}

// Once its buffer was full of them, the broker was busy with nothing until it gave the client up.
// RabbitMQ: it reads no more.
TEST_P(FramesEmbeddedTest, BytesAfterAnErrorAreReadAndForgotten) {
  Client& client = with_channel();
  client.send(1, {0x00630001U, ""});
  client.take(0, AMQP_CONNECTION_CLOSE_METHOD);
  const std::string garbage(1 << 20, '\x7F');
  for (int i = 0; i < 32; ++i) client.send_bytes(garbage);  // More than sockets hold.
}

}  // namespace
}  // namespace postoffice::amqp_test
