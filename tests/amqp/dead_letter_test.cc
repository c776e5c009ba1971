#include <gmock/gmock.h>

#include <ctime>
#include <limits>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// https://www.rabbitmq.com/docs/dlx
class DeadLetterTest : public ChannelTest {
 protected:
  void SetUp() override {
    ChannelTest::SetUp();
    if (IsSkipped()) return;
    dead_ = queue_name("dead");
    x_ = exchange_name();
    ch().declare_exchange(x_, "fanout");
    ch().declare(dead_, {.exclusive = true});
    ch().bind(dead_, x_, "");
  }

  const std::string& dead() const { return dead_; }
  const std::string& x() const { return x_; }
  // Declares the queue, with these arguments besides the dead letter exchange.
  void declare(Table arguments = {}) {
    arguments.push_back({"x-dead-letter-exchange", x()});
    ch().declare(q(), {.exclusive = true, .arguments = arguments});
  }
  Message dead_letter() {
    ch().await_ready(dead(), 1);
    return *ch().get(dead());
  }
  void reject() {
    ch().await_ready(q(), 1);
    ch().nack(ch().get(q(), false)->tag, {.requeue = false});
  }
  static const std::vector<Value>& deaths(const Message& message) {
    const Value* deaths = find(message.headers(), "x-death");
    if (deaths == nullptr || deaths->kind != 'A') throw std::runtime_error("no x-death array");
    return deaths->array;
  }
  void expect_first_death(const Message& message, const std::string& reason) {
    EXPECT_EQ(text_of(message.headers(), "x-first-death-reason"), reason);
    EXPECT_EQ(text_of(message.headers(), "x-first-death-queue"), q());
    EXPECT_EQ(text_of(message.headers(), "x-first-death-exchange"), "");
  }

 private:
  std::string dead_;
  std::string x_;
};
class DeadLetterEmbeddedTest : public DeadLetterTest {};
INSTANTIATE_ON_ENGINES(DeadLetterTest);
INSTANTIATE_ON_EMBEDDED(DeadLetterEmbeddedTest);

TEST_P(DeadLetterTest, RejectedMessageSaysHowItDied) {
  declare();
  const int64_t before = time(nullptr);
  ch().publish(q(), "body", {.headers = Table{{"own", "kept"}}, .message_id = "7"});
  reject();
  const Message message = dead_letter();
  EXPECT_EQ(message.body, "body");
  EXPECT_EQ(message.exchange, x());
  EXPECT_EQ(message.key, q());  // The original.
  EXPECT_EQ(message.properties.message_id, "7");
  EXPECT_EQ(text_of(message.headers(), "own"), "kept");
  expect_first_death(message, "rejected");
  ASSERT_EQ(deaths(message).size(), 1U);
  const Table& death = deaths(message)[0].table;
  EXPECT_EQ(text_of(death, "reason"), "rejected");
  EXPECT_EQ(text_of(death, "queue"), q());
  EXPECT_EQ(text_of(death, "exchange"), "");
  EXPECT_EQ(*find(death, "count"), Value(int64_t{1}));
  EXPECT_EQ(*find(death, "routing-keys"), Value(std::vector<Value>{q()}));
  ASSERT_EQ(find(death, "time")->kind, 'T');
  EXPECT_GE(find(death, "time")->integer, before);
  EXPECT_LE(find(death, "time")->integer, to_unix_millis(unix_now()) / 1000);
  EXPECT_EQ(find(death, "original-expiration"), nullptr);
}

TEST_P(DeadLetterTest, ExpiredMessageLosesItsExpiration) {
  declare();
  ch().publish(q(), "body", {.expiration = "20"});
  const Message message = dead_letter();
  EXPECT_FALSE(message.properties.expiration.has_value());
  expect_first_death(message, "expired");
  const Table& death = deaths(message)[0].table;
  EXPECT_EQ(text_of(death, "reason"), "expired");
  EXPECT_EQ(text_of(death, "original-expiration"), "20");
}

TEST_P(DeadLetterTest, MessageExpiredByItsQueueHasNoOriginalExpiration) {
  declare({{"x-message-ttl", 20}});
  ch().publish(q(), "body");
  const Message message = dead_letter();
  expect_first_death(message, "expired");
  EXPECT_EQ(find(deaths(message)[0].table, "original-expiration"), nullptr);
}

TEST_P(DeadLetterTest, DroppedHeadDiesOfMaxlen) {
  declare({{"x-max-length", 1}});
  ch().publish(q(), "1");
  ch().publish(q(), "2");
  const Message message = dead_letter();
  EXPECT_EQ(message.body, "1");
  expect_first_death(message, "maxlen");
  EXPECT_EQ(text_of(deaths(message)[0].table, "reason"), "maxlen");
}

TEST_P(DeadLetterTest, RefusedPublishIsNoDeadLetter) {
  declare({{"x-max-length", 1}, {"x-overflow", "reject-publish"}});
  ch().confirm_select();
  ch().publish(q(), "1");
  ch().publish(q(), "2");
  EXPECT_THAT(ch().confirms(), testing::ElementsAre(2));
  EXPECT_EQ(ch().ready(dead()), 0U);
}

TEST_P(DeadLetterTest, KeyOfTheQueueReplacesTheOriginal) {
  declare({{"x-dead-letter-routing-key", "other key"}});
  ch().publish(q(), "body");
  reject();
  const Message message = dead_letter();
  EXPECT_EQ(message.key, "other key");
  EXPECT_EQ(find(deaths(message)[0].table, "routing-keys")->array, std::vector<Value>{q()});
}

TEST_P(DeadLetterTest, CopyKeysStandInRoutingKeys) {
  declare();
  ch().publish(q(), "body", {.headers = Table{{"CC", std::vector<Value>{"more"}}}});
  reject();
  EXPECT_EQ(find(deaths(dead_letter())[0].table, "routing-keys")->array,
            (std::vector<Value>{q(), "more"}));
}

TEST_P(DeadLetterTest, CountGrowsPerQueueAndReason) {
  // What dies in the queue comes back to it.
  declare();
  ch().bind(q(), x(), "");
  ch().call(queue_unbind(dead(), x(), ""));
  ch().publish(q(), "body");
  for (int i = 0; i < 3; ++i) reject();
  ch().await_ready(q(), 1);
  const Message thrice = *ch().get(q(), false);
  ASSERT_EQ(deaths(thrice).size(), 1U);
  EXPECT_EQ(integer_of(deaths(thrice)[0].table, "count"), 3);
  // RabbitMQ's count is that of the newest death's queue and reason, first in the array.
  EXPECT_EQ(text_of(deaths(thrice)[0].table, "exchange"), "");
}

TEST_P(DeadLetterTest, AnotherQueueOrReasonIsAnotherEntryBeforeTheOthers) {
  const std::string second = queue_name("second");
  ch().declare(second, {.exclusive = true,
                        .arguments = {{"x-dead-letter-exchange", x()}, {"x-message-ttl", 20}}});
  ch().declare(
      q(), {.exclusive = true,
            .arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", second}}});
  ch().publish(q(), "body");
  reject();
  const Message message = dead_letter();
  expect_first_death(message, "rejected");
  ASSERT_EQ(deaths(message).size(), 2U);
  EXPECT_EQ(text_of(deaths(message)[0].table, "queue"), second);
  EXPECT_EQ(text_of(deaths(message)[0].table, "reason"), "expired");
  EXPECT_EQ(text_of(deaths(message)[0].table, "exchange"), "");
  EXPECT_EQ(text_of(deaths(message)[1].table, "queue"), q());
  EXPECT_EQ(text_of(deaths(message)[1].table, "reason"), "rejected");
}

TEST_P(DeadLetterTest, MissingExchangeDrops) {
  ch().declare(q(),
               {.exclusive = true, .arguments = {{"x-dead-letter-exchange", "no such exchange"}}});
  ch().publish(q(), "body");
  reject();
  ch().sync(q());
  EXPECT_EQ(ch().ready(q()), 0U);
}

TEST_P(DeadLetterTest, CycleOfExpiryAloneDrops) {
  declare({{"x-message-ttl", 20}});
  ch().bind(q(), x(), "");
  ch().publish(q(), "body");
  EXPECT_EQ(dead_letter().body, "body");  // Goes round once: to the other queue, not to its own.
  ch().await_ready(q(), 0);
  EXPECT_EQ(ch().ready(dead()), 0U);
}

TEST_P(DeadLetterTest, ManyRejectedAtOnceKeepTheirOrder) {
  declare();
  const std::string body(100'000, 'x');
  for (const auto& number : numbered(1, 100)) ch().publish(q(), body, {.message_id = number});
  ch().consume(q());
  ch().deliveries(100);
  ch().nack(0, {.multiple = true, .requeue = false});
  ch().await_ready(dead(), 100);
  for (const auto& number : numbered(1, 100)) {
    EXPECT_EQ(ch().get(dead())->properties.message_id, number);
  }
}

// How clients try again after a while: what was rejected waits in a queue of its own.
TEST_P(DeadLetterTest, CycleWithARejectGoesOn) {
  const std::string later = queue_name("later");
  ch().declare(
      q(), {.exclusive = true,
            .arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", later}}});
  ch().declare(later, {.exclusive = true,
                       .arguments = {{"x-message-ttl", 20},
                                     {"x-dead-letter-exchange", ""},
                                     {"x-dead-letter-routing-key", q()}}});
  ch().publish(q(), "body");
  for (int i = 0; i < 4; ++i) reject();
  ch().await_ready(q(), 1);
  const Message message = *ch().get(q());
  EXPECT_EQ(message.body, "body");
  EXPECT_EQ(integer_of(deaths(message)[0].table, "count"), 4);
}

TEST_P(DeadLetterTest, PurgedAndDeletedMessagesAreNoDeadLetters) {
  declare();
  ch().publish(q(), "1");
  ch().await_ready(q(), 1);
  ch().call(queue_purge(q()));
  ch().publish(q(), "2");
  ch().await_ready(q(), 1);
  ch().call(queue_delete(q()));
  EXPECT_EQ(ch().ready(dead()), 0U);
}

// A routing key is a short string: a longer one once stood in messages as another thing.
// RabbitMQ: it declares the queue, which then cannot dead-letter.
TEST_P(DeadLetterEmbeddedTest, KeyLongerThanARoutingKeyIs406) {
  const std::string too_long(256, 'k');
  for (const Table& arguments :
       {Table{{"x-dead-letter-exchange", too_long}},
        Table{{"x-dead-letter-exchange", x()}, {"x-dead-letter-routing-key", too_long}}}) {
    ch().refuses(queue_declare(q(), {.exclusive = true, .arguments = arguments}), 406);
  }
}

// One more than that is no number of 64 bits.
// RabbitMQ: its numbers have no end.
TEST_P(DeadLetterEmbeddedTest, CountOfAForgedDeathStaysInRange) {
  declare();
  const int64_t most = std::numeric_limits<int64_t>::max();
  const Table forged = {{"count", most}, {"reason", "rejected"}, {"queue", q()}};
  ch().publish(q(), "body", {.headers = Table{{"x-death", std::vector<Value>{forged}}}});
  reject();
  EXPECT_EQ(integer_of(deaths(dead_letter())[0].table, "count"), most);
}

}  // namespace
}  // namespace postoffice::amqp_test
