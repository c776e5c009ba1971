#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Declaring, binding and deleting queues; AMQP 0-9-1 section 1.7.
class QueuesTest : public ChannelTest {};
INSTANTIATE_ON_ENGINES(QueuesTest);

TEST_P(QueuesTest, DeclareAnswersNameAndCounts) {
  const QueueInfo fresh = ch().declare(q());
  EXPECT_EQ(fresh.name, q());
  EXPECT_EQ(fresh.messages, 0U);
  EXPECT_EQ(fresh.consumers, 0U);
  ch().publish(q(), "1");
  ch().publish(q(), "2");
  ch().await_ready(q(), 2);
  EXPECT_EQ(ch().declare(q()).messages, 2U);
  ch().consume(q());
  ch().deliveries(2);
  const QueueInfo busy = ch().declare(q());
  EXPECT_EQ(busy.messages, 0U);  // Ready ones only.
  EXPECT_EQ(busy.consumers, 1U);
}

TEST_P(QueuesTest, ServerNamesAQueueWithoutName) {
  const std::string first = ch().declare("", {.exclusive = true}).name;
  const std::string second = ch().declare("", {.exclusive = true}).name;
  EXPECT_THAT(first, testing::StartsWith("amq.gen-"));
  EXPECT_NE(first, second);
}

TEST_P(QueuesTest, EmptyNameIsTheQueueDeclaredLastOnTheChannel) {
  const std::string x = exchange_name();
  ch().declare_exchange(x, "fanout");
  ch().declare(q(), {.exclusive = true});
  ch().bind("", x, "");
  ch().publish(x, "", "body");
  ch().await_ready(q(), 1);
  EXPECT_EQ(ch().get("")->body, "body");
  ch().call(queue_purge(""));
  ch().consume("");
  EXPECT_EQ(ch().declare(q(), {.exclusive = true}).consumers, 1U);
  ch().call(queue_delete(""));
}

TEST_P(QueuesTest, EmptyKeyIsTheQueueNameWhenBothAreEmpty) {
  const std::string x = exchange_name();
  ch().declare_exchange(x, "direct");
  ch().declare(q(), {.exclusive = true});
  ch().bind("", x, "");
  ch().publish(x, q(), "body");
  ch().await_ready(q(), 1);
}

TEST_P(QueuesTest, EmptyNameWithNoneDeclaredBeforeIs404) {
  ch().refuses(queue_declare("", {.passive = true}), 404);
  ch().refuses(queue_bind("", "amq.direct", "k"), 404);
  ch().refuses(queue_purge(""), 404);
  ch().refuses(queue_delete(""), 404);
  ch().refuses(basic_get(""), 404);
  ch().refuses(basic_consume(""), 404);
}

TEST_P(QueuesTest, MissingPassiveIs404) {
  ch().refuses(queue_declare(q(), {.passive = true}), 404);
}

TEST_P(QueuesTest, MissingQueueIs404) {
  ch().refuses(queue_bind(q(), "amq.direct", "k"), 404);
  ch().refuses(queue_purge(q()), 404);
  ch().refuses(basic_get(q()), 404);
  ch().refuses(basic_consume(q()), 404);
}

TEST_P(QueuesTest, BindingToAMissingExchangeIs404) {
  ch().declare(q(), {.exclusive = true});
  ch().refuses(queue_bind(q(), "no such exchange", "k"), 404);
}

TEST_P(QueuesTest, DeletingOrUnbindingWhatIsMissingIsFine) {
  EXPECT_EQ(ch().call(queue_delete(q())).as<amqp_queue_delete_ok_t>().message_count, 0U);
  ch().call(queue_unbind(q(), "amq.direct", "k"));
  ch().declare(q(), {.exclusive = true});
  ch().call(queue_unbind(q(), "amq.direct", "k"));
  ch().call(queue_unbind(q(), "no such exchange", "k"));
}

TEST_P(QueuesTest, BindingTwiceIsFineAndUnbindingOnceEndsIt) {
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), "amq.direct", q());
  ch().bind(q(), "amq.direct", q());
  ch().call(queue_unbind(q(), "amq.direct", q()));
  ch().publish("amq.direct", q(), "lost", {}, {.mandatory = true});
  EXPECT_EQ(ch().returned().body, "lost");
}

TEST_P(QueuesTest, BindingsDifferByArguments) {
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), "amq.direct", q(), {{"a", 1}});
  ch().bind(q(), "amq.direct", q(), {{"a", 2}});
  ch().call(queue_unbind(q(), "amq.direct", q(), {{"a", 1}}));
  ch().publish("amq.direct", q(), "arrives");
  ch().await_ready(q(), 1);
}

TEST_P(QueuesTest, EquivalentRedeclareIsFine) {
  const QueueOptions options{
      .durable = true, .arguments = {{"x-message-ttl", 60000}, {"x-max-length", 10}, {"own", "a"}}};
  ch().declare(q(), options);
  ch().declare(q(), options);
  // Integers of another width are the same; unknown arguments are not compared.
  ch().declare(
      q(), {.durable = true,
            .arguments = {
                {"x-max-length", int64_t{10}}, {"x-message-ttl", int64_t{60000}}, {"own", "b"}}});
  ch().declare(q(), {.passive = true});
}

TEST_P(QueuesTest, UnknownArgumentsAreFine) {
  ch().declare(q(), {.exclusive = true, .arguments = {{"x-unheard-of", "y"}, {"own", 1}}});
}

TEST_P(QueuesTest, MismatchIs406) {
  ch().declare(q(), {.arguments = {{"x-message-ttl", 60000}}});
  const Table arguments{{"x-message-ttl", 60000}};
  ch().refuses(queue_declare(q(), {.durable = true, .arguments = arguments}), 406);
  ch().refuses(queue_declare(q(), {.auto_delete = true, .arguments = arguments}), 406);
  ch().refuses(queue_declare(q(), {.arguments = {{"x-message-ttl", 60001}}}), 406);
  ch().refuses(queue_declare(q(), {}), 406);
  ch().refuses(queue_declare(q(), {.arguments = {{"x-message-ttl", 60000}, {"x-max-length", 1}}}),
               406);
  ch().declare(q(), {.arguments = arguments});
}

TEST_P(QueuesTest, MismatchOfQueueTypeIs406) {
  ch().declare(q(), {.durable = true});
  ch().refuses(queue_declare(q(), {.durable = true, .arguments = {{"x-queue-type", "quorum"}}}),
               406);
  ch().declare(q(), {.durable = true, .arguments = {{"x-queue-type", "classic"}}});
}

TEST_P(QueuesTest, BadValuesOfKnownArgumentsAre406) {
  const std::vector<Entry> bad{{"x-message-ttl", -1},
                               {"x-message-ttl", "1000"},
                               {"x-expires", 0},
                               {"x-expires", -1},
                               {"x-expires", "soon"},
                               {"x-max-length", -1},
                               {"x-max-length", "many"},
                               {"x-max-length-bytes", -1},
                               {"x-overflow", "explode"},
                               {"x-overflow", 1},
                               {"x-max-priority", -1},
                               {"x-max-priority", 256},
                               {"x-max-priority", "high"},
                               {"x-dead-letter-exchange", 1},
                               {"x-dead-letter-routing-key", "without exchange"},
                               {"x-single-active-consumer", "yes"},
                               {"x-queue-type", "unheard-of"},
                               {"x-queue-type", 1}};
  for (const Entry& argument : bad) {
    SCOPED_TRACE(testing::PrintToString(argument));
    ch().refuses(queue_declare(q(), {.durable = true, .arguments = {argument}}), 406);
  }
}

TEST_P(QueuesTest, QuorumQueueIsDurableAndShared) {
  const Table quorum{{"x-queue-type", "quorum"}};
  ch().refuses(queue_declare(q(), {.arguments = quorum}), 406);
  ch().refuses(queue_declare(q(), {.durable = true, .exclusive = true, .arguments = quorum}), 406);
  ch().refuses(queue_declare(q(), {.durable = true, .auto_delete = true, .arguments = quorum}),
               406);
}

TEST_P(QueuesTest, NamesOfTheBrokerAre403) {
  ch().refuses(queue_declare("amq.mine"), 403);
  ch().refuses(queue_declare("amq.mine", {.passive = true}), 404);
}

TEST_P(QueuesTest, DefaultExchangeTakesNoBindings) {
  ch().declare(q(), {.exclusive = true});
  ch().refuses(queue_bind(q(), "", "k"), 403);
  ch().refuses(queue_unbind(q(), "", q()), 403);
}

TEST_P(QueuesTest, PurgeAnswersHowManyWereReady) {
  ch().declare(q(), {.exclusive = true});
  for (const auto& body : numbered(1, 3)) ch().publish(q(), body);
  ch().await_ready(q(), 3);
  const Message unacked = *ch().get(q(), false);
  EXPECT_EQ(ch().call(queue_purge(q())).as<amqp_queue_purge_ok_t>().message_count, 2U);
  ch().nack(unacked.tag);
  ch().await_ready(q(), 1);
}

TEST_P(QueuesTest, DeleteAnswersHowManyWereReady) {
  ch().declare(q());
  ch().publish(q(), "1");
  ch().await_ready(q(), 1);
  EXPECT_EQ(ch().call(queue_delete(q())).as<amqp_queue_delete_ok_t>().message_count, 1U);
  ch().refuses(queue_declare(q(), {.passive = true}), 404);
}

TEST_P(QueuesTest, DeleteIfEmptyAndIfUnusedAre406) {
  ch().declare(q());
  ch().publish(q(), "1");
  ch().await_ready(q(), 1);
  ch().refuses(queue_delete(q(), {.if_empty = true}), 406);
  Channel consumer = other_connection();
  consumer.consume(q());
  ch().refuses(queue_delete(q(), {.if_unused = true}), 406);
  consumer.close();
  ch().call(queue_purge(q()));
  ch().call(queue_delete(q(), {.if_unused = true, .if_empty = true}));
}

TEST_P(QueuesTest, AutoDeleteQueueLivesUntilItsLastConsumerLeaves) {
  ch().declare(q(), {.auto_delete = true});
  Channel other = other_connection();
  other.declare(q(), {.auto_delete = true});
  ch().get(q());  // Is no consumer.
  const std::string first = ch().consume(q());
  other.consume(q());
  ch().call(basic_cancel(first));
  EXPECT_EQ(ch().declare(q(), {.passive = true}).consumers, 1U);
  other.close();
  ch().await_gone(q());
}

TEST_P(QueuesTest, NowaitIsNotAnswered) {
  ch().send(queue_declare(q(), {.exclusive = true, .nowait = true}));
  ch().send(basic_consume(q(), {.tag = "t", .nowait = true}));
  ch().publish(q(), "body");
  EXPECT_EQ(ch().next().id, AMQP_BASIC_DELIVER_METHOD);
}

}  // namespace
}  // namespace postoffice::amqp_test
