#include <gmock/gmock.h>

#include <thread>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

class DurabilityTest : public ChannelTest {};
INSTANTIATE_ON_ENGINES(DurabilityTest);

// One test, because RabbitMQ takes seconds to restart.
TEST_P(DurabilityTest, DurableThingsSurviveARestart) {
  const std::string transient = queue_name("transient");
  const std::string exclusive = queue_name("exclusive");
  const std::string quorum = queue_name("quorum");
  const std::string stream = queue_name("stream");
  const std::string bounded = queue_name("bounded");
  const std::string acked = queue_name("acked");
  const std::string x = exchange_name();
  const std::string source = exchange_name("source");
  const std::string passing = exchange_name("passing");
  const QueueOptions of_quorum{.durable = true, .arguments = {{"x-queue-type", "quorum"}}};
  const QueueOptions of_stream{.durable = true, .arguments = {{"x-queue-type", "stream"}}};
  const QueueOptions of_bounded{
      .durable = true,
      .arguments = {{"x-max-length", 3}, {"x-max-priority", 5}, {"x-message-ttl", 600000}}};
  ch().declare(q(), {.durable = true});
  ch().declare(acked, {.durable = true});
  ch().declare(transient);
  ch().declare(exclusive, {.durable = true, .exclusive = true});
  ch().declare(quorum, of_quorum);
  ch().declare(stream, of_stream);
  ch().declare(bounded, of_bounded);
  ch().declare_exchange(x, "topic", {.durable = true});
  ch().declare_exchange(source, "fanout",
                        {.durable = true, .arguments = {{"alternate-exchange", x}}});
  ch().declare_exchange(passing, "direct");
  ch().bind(q(), x, "a.*");
  ch().call(exchange_bind(x, source, ""));

  ch().confirm_select();
  const Properties properties{
      .headers = Table{{"own", "header"}}, .delivery_mode = 2, .message_id = "7"};
  for (const auto& body : numbered(1, 100)) ch().publish(q(), body, properties);
  ch().publish(q(), "transient", {.delivery_mode = 1});
  ch().publish(q(), std::string(300'000, 'x'), persistent());
  for (const auto& body : numbered(1, 5)) {
    for (const auto& queue : {quorum, stream, bounded, acked, transient}) {
      ch().publish(queue, body, persistent());
    }
  }
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  // Delivered but not acknowledged, and acknowledged.
  EXPECT_EQ(ch().get(q(), false)->body, "1");
  EXPECT_EQ(ch().get(q(), false)->body, "2");
  const Message settled = *ch().get(acked, false);
  ch().ack(settled.tag);
  ch().sync();

  engine().restart();
  client().expect_connection_close(320, 0);

  Client& after = open_client();
  Channel channel = after.channel(1);
  channel.await_ready(q(), 101);
  for (int number = 1; number <= 100; ++number) {
    const Message message = *channel.get(q());
    EXPECT_EQ(message.body, std::to_string(number));
    EXPECT_TRUE(message.properties == properties);
    EXPECT_TRUE(number > 2 || message.redelivered) << number;
  }
  EXPECT_EQ(channel.get(q())->body.size(), 300'000U);
  EXPECT_EQ(channel.get_all(acked), numbered(2, 5));
  channel.await_ready(quorum, 5);
  EXPECT_EQ(channel.get_all(quorum), numbered(1, 5));
  EXPECT_EQ(channel.get_all(bounded), numbered(3, 5));
  Channel reader = after.channel(2);
  // RabbitMQ's streams take a moment to start.
  reader.await_accepted(
      {basic_qos(10), basic_consume(stream, {.arguments = {{"x-stream-offset", "first"}}})});
  EXPECT_EQ(reader.deliveries(5), numbered(1, 5));

  // Declared as they were.
  channel.declare(q(), {.durable = true});
  channel.declare(quorum, of_quorum);
  channel.declare(stream, of_stream);
  channel.declare(bounded, of_bounded);
  channel.declare_exchange(x, "topic", {.durable = true});
  channel.declare_exchange(source, "fanout",
                           {.durable = true, .arguments = {{"alternate-exchange", x}}});
  channel.publish(source, "a.b", "by bindings");
  channel.await_ready(q(), 1);

  channel.refuses(queue_declare(transient, {.passive = true}), 404);
  channel.refuses(queue_declare(exclusive, {.passive = true}), 404);
  channel.refuses(exchange_declare(passing, "direct", {.passive = true}), 404);
}

// What takes RabbitMQ too long.
class EmbeddedDurabilityTest : public ChannelTest {};
INSTANTIATE_TEST_SUITE_P(Embedded, EmbeddedDurabilityTest, testing::Values(&embedded));

// Its number was once given again after a restart, and with it came its messages.
TEST_P(EmbeddedDurabilityTest, MessagesOfADeletedQueueDoNotComeBackInAnotherOne) {
  const auto after_restart = [this] {
    engine().restart();
    return open_client().channel(1);
  };
  ch().declare(queue_name("kept"), {.durable = true});  // And with it the log up to here.
  ch().declare(q(), {.durable = true});
  ch().confirm_select();
  for (const auto& body : numbered(1, 10)) ch().publish(q(), body, persistent());
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
  ch().call(queue_delete(q()));

  Channel second = after_restart();
  const std::string other = queue_name("other");
  second.declare(other, {.durable = true});
  second.confirm_select();
  second.publish(other, "new", persistent());
  EXPECT_THAT(second.confirms(), testing::IsEmpty());

  Channel third = after_restart();
  EXPECT_EQ(third.get_all(other), std::vector<std::string>{"new"});
}

// A connection that waited for the log while others did too was sometimes not told that its record
// was durable, and hung until the next one was.
TEST_P(EmbeddedDurabilityTest, ConcurrentDeclarationsAreAllAnswered) {
  std::vector<std::jthread> threads;
  for (uint16_t number = 0; number < 4; ++number) {
    threads.emplace_back([name = queue_name(std::to_string(number)), this] {
      try {
        Client client(engine());
        client.open();
        Channel channel = client.channel(1);
        for (int i = 0; i < 500; ++i) {
          channel.declare(name, {.durable = true});
          channel.call(queue_delete(name));
        }
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
    });
  }
}

}  // namespace
}  // namespace postoffice::amqp_test
