#include <gmock/gmock.h>

#include <ctime>
#include <limits>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Queues of x-queue-type stream (https://www.rabbitmq.com/docs/streams).
class StreamTest : public ChannelTest {
 protected:
  static Table stream(Table arguments = {}) {
    arguments.push_back({"x-queue-type", "stream"});
    return arguments;
  }
  void declare(const Table& arguments = {}) {
    ch().declare(q(), {.durable = true, .arguments = stream(arguments)});
    ch().confirm_select();
  }
  void publish_numbers(int first, int last) {
    for (const auto& body : numbered(first, last)) ch().publish(q(), body);
    ch().confirms();
  }
  // A consumer on a channel of its own that starts there.
  Channel reader(const Value& offset, uint16_t prefetch = 100) {
    Channel channel = client().channel(++channels_);
    channel.qos(prefetch);
    channel.consume(q(), {.arguments = {{"x-stream-offset", offset}}});
    return channel;
  }
  // Of the oldest message there is, by a connection of its own. 0 when RabbitMQ fails: its
  // retention process crashes now and then when a stream is deleted (osiris: missing_file), and
  // whoever consumes at that moment is closed with 541.
  int64_t first_offset() {
    Client client(engine());
    client.open();
    Channel channel = client.channel(1);
    channel.qos(1);
    try {
      channel.consume(q(), {.arguments = {{"x-stream-offset", "first"}}});
      return offset_of(channel.delivery());
    } catch (const std::runtime_error&) {
      if (!engine().is_rabbitmq()) throw;
      return 0;
    }
  }
  static int64_t offset_of(const Message& message) {
    return integer_of(message.headers(), "x-stream-offset");
  }

 private:
  uint16_t channels_ = 1;
};
class StreamEmbeddedTest : public StreamTest {};
INSTANTIATE_ON_ENGINES(StreamTest);
INSTANTIATE_ON_EMBEDDED(StreamEmbeddedTest);

TEST_P(StreamTest, DeclaringItOtherwiseIs406) {
  ch().refuses(queue_declare(q(), {.arguments = stream()}), 406);
  ch().refuses(queue_declare(q(), {.durable = true, .exclusive = true, .arguments = stream()}),
               406);
  ch().refuses(queue_declare(q(), {.durable = true, .auto_delete = true, .arguments = stream()}),
               406);
  ch().refuses(queue_declare(q(), {.durable = true, .arguments = stream({{"x-message-ttl", 1}})}),
               406);
}

TEST_P(StreamTest, BadMaximumAgeIsRefused) {
  const Method method =
      queue_declare(q(), {.durable = true, .arguments = stream({{"x-max-age", "soon"}})});
  if (engine().is_rabbitmq()) {
    ch().send(method);
    client().expect_connection_close(541, 0);
  } else {
    ch().refuses(method, 406);
  }
}

TEST_P(StreamTest, ConsumeWithoutPrefetchIs406) {
  declare();
  ch().refuses(basic_consume(q()), 406);
}

TEST_P(StreamTest, NoAckIs540) {
  declare();
  ch().qos(1);
  ch().closes_connection(basic_consume(q(), {.no_ack = true}), 540);
}

TEST_P(StreamTest, GetIs540) {
  declare();
  ch().closes_connection(basic_get(q()), 540);
}

TEST_P(StreamTest, PurgeIs540) {
  declare();
  ch().closes_connection(queue_purge(q()), 540);
}

TEST_P(StreamTest, DeliversWithoutRemoving) {
  declare();
  publish_numbers(1, 20);
  for (int i = 0; i < 2; ++i) {
    Channel channel = reader("first", 5);
    for (int number = 1; number <= 20; ++number) {
      const Message message = channel.delivery();
      EXPECT_EQ(message.body, std::to_string(number));
      EXPECT_EQ(offset_of(message), number - 1);
      channel.ack(message.tag);
    }
  }
}

TEST_P(StreamTest, AcksOnlyGiveCredit) {
  declare();
  // Each confirmed alone, so a chunk of its own: RabbitMQ delivers whole chunks.
  for (int i = 1; i <= 5; ++i) publish_numbers(i, i);
  Channel channel = reader("first", 2);
  EXPECT_EQ(channel.deliveries(2), numbered(1, 2));
  channel.sync(q());
  channel.expect_nothing();
  channel.ack(1);
  channel.ack(2);
  EXPECT_EQ(channel.deliveries(2), numbered(3, 4));
}

TEST_P(StreamTest, NackAndRejectAre540) {
  declare();
  publish_numbers(1, 1);
  for (const Method& method : {basic_nack(1), basic_reject(1, false)}) {
    Channel channel = other_connection();
    channel.qos(1);
    channel.consume(q(), {.arguments = {{"x-stream-offset", "first"}}});
    channel.delivery();
    channel.closes_connection(method, 540);
  }
}

TEST_P(StreamTest, StartsAtTheNextMessageByDefault) {
  declare();
  publish_numbers(1, 3);
  ch().qos(10);
  ch().consume(q());
  Channel next = reader("next");
  publish_numbers(4, 4);
  for (Channel* channel : {&ch(), &next}) {
    const Message message = channel->delivery();
    EXPECT_EQ(message.body, "4");
    EXPECT_EQ(offset_of(message), 3);
  }
}

TEST_P(StreamTest, StartsAtANumber) {
  declare();
  publish_numbers(1, 10);
  const Message message = reader(7).delivery();
  EXPECT_EQ(message.body, "8");
  EXPECT_EQ(offset_of(message), 7);
}

TEST_P(StreamTest, StartsAtTheLastChunk) {
  declare();
  publish_numbers(1, 3);
  publish_numbers(4, 4);  // Confirmed alone, so a chunk of its own.
  EXPECT_EQ(reader("last").delivery().body, "4");
}

TEST_P(StreamTest, StartsAtATimestamp) {
  declare();
  publish_numbers(1, 3);
  EXPECT_EQ(reader(Value::of('T', time(nullptr) - 3600)).delivery().body, "1");
  Channel future = reader(Value::of('T', time(nullptr) + 3600));
  publish_numbers(4, 4);
  EXPECT_EQ(future.delivery().body, "4");
}

TEST_P(StreamTest, OffsetPastTheEndWaits) {
  declare();
  publish_numbers(1, 2);
  Channel channel = reader(5);
  publish_numbers(3, 8);
  const Message message = channel.delivery();
  EXPECT_EQ(message.body, "6");
  EXPECT_EQ(offset_of(message), 5);
}

TEST_P(StreamTest, BadOffsetIsRefused) {
  declare();
  ch().qos(1);
  const Method consume = basic_consume(q(), {.arguments = {{"x-stream-offset", "sideways"}}});
  if (engine().is_rabbitmq()) {
    ch().send(consume);
    client().expect_connection_close(541, 0);
  } else {
    ch().refuses(consume, 406);
  }
}

TEST_P(StreamTest, CancelEndsDeliveries) {
  declare();
  publish_numbers(1, 1);
  ch().qos(10);
  const std::string tag = ch().consume(q(), {.arguments = {{"x-stream-offset", "first"}}});
  EXPECT_EQ(ch().delivery().body, "1");
  ch().call(basic_cancel(tag));
  publish_numbers(2, 2);
  ch().sync(q());
  ch().expect_nothing();
}

TEST_P(StreamTest, BytesAreRetainedUpToTheMaximum) {
  declare({{"x-max-length-bytes", 200'000}, {"x-stream-max-segment-size-bytes", 50'000}});
  const std::string body(5000, 'x');
  for (int i = 0; i < 50; ++i) {
    for (int j = 0; j < 10; ++j) ch().publish(q(), body);
    ch().confirms();
  }
  const auto deadline = SteadyClock::now() + Client::kDeadline;
  while (first_offset() == 0 && SteadyClock::now() < deadline) continue;
  EXPECT_GT(first_offset(), 0);
}

TEST_P(StreamTest, MessagesAreRetainedUpToTheMaximumAge) {
  declare({{"x-max-age", "1s"}, {"x-stream-max-segment-size-bytes", 20'000}});
  const std::string body(5000, 'x');
  const auto deadline = SteadyClock::now() + Client::kDeadline;
  do {
    for (int j = 0; j < 5; ++j) ch().publish(q(), body);
    ch().confirms();
  } while (first_offset() == 0 && SteadyClock::now() < deadline);
  EXPECT_GT(first_offset(), 0);
}

// In milliseconds they are no numbers of 64 bits.
// RabbitMQ: its numbers have no end.
TEST_P(StreamEmbeddedTest, TimestampsBeyondAllTimeAreTaken) {
  declare();
  publish_numbers(1, 2);
  Channel past = reader(Value::of('T', std::numeric_limits<int64_t>::min()));
  EXPECT_EQ(past.deliveries(2), numbered(1, 2));
  Channel future = reader(Value::of('T', std::numeric_limits<int64_t>::max()));
  publish_numbers(3, 3);
  EXPECT_EQ(future.delivery().body, "3");
}

}  // namespace
}  // namespace postoffice::amqp_test
