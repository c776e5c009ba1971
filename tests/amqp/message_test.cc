#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Bodies and properties come as they were sent.
class MessagesTest : public ChannelTest {
 protected:
  static Table every_type() {
    return {{"t", true},
            {"b", Value::of('b', -128)},
            {"B", Value::of('B', 255)},
            {"s", Value::of('s', -32768)},
            {"u", Value::of('u', 65535)},
            {"I", Value::of('I', -2147483648LL)},
            {"i", Value::of('i', 4294967295LL)},
            {"l", Value::of('l', INT64_MIN)},
            {"L", Value::of('L', INT64_MAX)},
            {"f", Value::float32(1.5F)},
            {"d", -0.1},
            {"D", Value::decimal(2, 314)},
            {"S", std::string("text with \0 inside", 18)},
            {"x", Value::of('x', std::string("\0\xFF", 2))},
            {"A", std::vector<Value>{1, "two", Value(), std::vector<Value>{}}},
            {"T", Value::of('T', 1700000000)},
            {"F", Table{{"inner", Table{{"deep", int64_t{1}}}}}},
            {"V", Value()}};
  }
};
INSTANTIATE_ON_ENGINES(MessagesTest);

TEST_P(MessagesTest, BodiesOfAllSizesComeBack) {
  ch().declare(q(), {.exclusive = true});
  ch().consume(q(), {.no_ack = true});
  const size_t most = client().frame_max() - 8;
  for (const size_t size : {size_t{0}, size_t{1}, most - 1, most, most + 1, 2 * most,
                            size_t{1024 * 1024}, size_t{20 * 1024 * 1024}}) {
    std::string body(size, '\0');
    for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 7 + i / 251);
    ch().publish(q(), body);
    const Message message = ch().delivery();
    EXPECT_TRUE(message.body == body) << size << " bytes, got " << message.body.size();
  }
}

TEST_P(MessagesTest, EmptyBodyHasNoBodyFrame) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "");
  ch().publish(q(), "x");
  client().send(1, basic_consume(q(), {.no_ack = true}));
  std::string types;
  for (int i = 0; i < 6; ++i) types += static_cast<char>('0' + client().read_frame().type);
  EXPECT_EQ(types, "112123");  // consume-ok; deliver, header; deliver, header, body.
}

TEST_P(MessagesTest, DeliveriesAreSplitToTheConnectionsFrameMax) {
  ch().declare(q());
  ch().publish(q(), std::string(10'000, 'x'));
  ch().await_ready(q(), 1);
  Client& small = open_client({.frame_max = 4096});
  small.channel(1);
  small.send(1, basic_get(q()));
  EXPECT_EQ(small.read_frame().type, AMQP_FRAME_METHOD);
  EXPECT_EQ(small.read_frame().type, AMQP_FRAME_HEADER);
  EXPECT_EQ(small.read_frame().payload.size(), 4088U);
  EXPECT_EQ(small.read_frame().payload.size(), 4088U);
  EXPECT_EQ(small.read_frame().payload.size(), 1824U);
}

TEST_P(MessagesTest, AllPropertiesComeBack) {
  ch().declare(q(), {.exclusive = true});
  const Properties all{.content_type = "text/plain",
                       .content_encoding = "gzip",
                       .headers = Table{{"k", "v"}},
                       .delivery_mode = 1,
                       .priority = 9,
                       .correlation_id = "c",
                       .reply_to = "somewhere",
                       .expiration = "60000",
                       .message_id = std::string(255, 'm'),
                       .timestamp = 1700000000,
                       .type = "",
                       .user_id = "guest",
                       .app_id = "app",
                       .cluster_id = "cluster"};
  ch().publish(q(), "x", all);
  ch().publish(q(), "x");
  ch().consume(q());
  EXPECT_TRUE(ch().delivery().properties == all);
  EXPECT_TRUE(ch().delivery().properties == Properties{});
}

TEST_P(MessagesTest, EveryFieldTypeComesBack) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "x", {.headers = every_type()});
  ch().consume(q());
  EXPECT_THAT(ch().delivery().headers(), testing::ContainerEq(every_type()));
}

TEST_P(MessagesTest, EveryFieldTypeSurvivesWhenTheBrokerAddsHeaders) {
  const std::string dead = queue_name("dead");
  ch().declare(dead, {.exclusive = true});
  ch().declare(
      q(), {.exclusive = true,
            .arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", dead}}});
  ch().publish(q(), "x", {.headers = every_type()});
  ch().consume(dead);
  ch().await_ready(q(), 1);
  ch().nack(ch().get(q(), false)->tag, {.requeue = false});
  const Message message = ch().delivery();
  for (const Entry& sent : every_type()) {
    const Value* came = find(message.headers(), sent.name);
    ASSERT_NE(came, nullptr) << sent.name;
    if (sent.value.kind == 'L') {  // RabbitMQ makes it l.
      EXPECT_EQ(came->integer, sent.value.integer);
    } else {
      EXPECT_EQ(*came, sent.value);
    }
  }
}

TEST_P(MessagesTest, ArgumentsOfEveryTypeAreTaken) {
  ch().declare(q(), {.exclusive = true, .arguments = every_type()});
  ch().declare(q(), {.exclusive = true, .arguments = every_type()});
}

}  // namespace
}  // namespace postoffice::amqp_test
