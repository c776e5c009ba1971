#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// AMQP 0-9-1 section 1.9.
class TransactionsTest : public ChannelTest {};
class TransactionsEmbeddedTest : public TransactionsTest {};
INSTANTIATE_ON_ENGINES(TransactionsTest);
INSTANTIATE_ON_EMBEDDED(TransactionsEmbeddedTest);

TEST_P(TransactionsTest, CommitPublishes) {
  ch().declare(q(), {.durable = true});
  ch().call(tx_select());
  for (const auto& body : numbered(1, 3)) ch().publish(q(), body, persistent());
  EXPECT_EQ(ch().ready(q()), 0U);
  ch().call(tx_commit());
  EXPECT_EQ(ch().ready(q()), 3U);
  EXPECT_EQ(ch().get_all(q()), numbered(1, 3));
}

TEST_P(TransactionsTest, RollbackPublishesNothing) {
  ch().declare(q(), {.exclusive = true});
  ch().call(tx_select());
  ch().publish(q(), "never");
  ch().call(tx_rollback());
  ch().publish(q(), "once");
  ch().call(tx_commit());
  EXPECT_EQ(ch().get_all(q()), (std::vector<std::string>{"once"}));
}

TEST_P(TransactionsTest, ClosingTheChannelRollsBack) {
  ch().declare(q(), {.exclusive = true});
  Channel other = client().channel(2);
  other.call(tx_select());
  other.publish(q(), "never");
  other.close();
  EXPECT_EQ(ch().ready(q()), 0U);
}

TEST_P(TransactionsTest, AcksTakeEffectAtCommit) {
  ch().declare(q());
  for (const auto& body : numbered(1, 3)) ch().publish(q(), body);
  ch().await_ready(q(), 3);
  Channel other = client().channel(2);
  other.call(tx_select());
  for (int i = 0; i < 3; ++i) other.get(q(), false);
  other.ack(1);
  other.nack(2, {.requeue = false});
  other.call(tx_commit());
  other.ack(3);
  other.close();  // Without commit: 3 is not acknowledged.
  ch().await_ready(q(), 1);
  EXPECT_EQ(ch().get_all(q()), (std::vector<std::string>{"3"}));
}

TEST_P(TransactionsTest, RollbackForgetsAcks) {
  ch().declare(q(), {.exclusive = true});
  ch().publish(q(), "body");
  ch().await_ready(q(), 1);
  ch().call(tx_select());
  const uint64_t tag = ch().get(q(), false)->tag;
  ch().ack(tag);
  ch().call(tx_rollback());
  // Not settled, so it may be acknowledged once more.
  ch().ack(tag);
  ch().call(tx_commit());
  ch().sync();
  EXPECT_EQ(ch().ready(q()), 0U);
}

TEST_P(TransactionsTest, UnknownTagIs406) {
  ch().call(tx_select());
  ch().refuses(basic_ack(1), 406);
}

TEST_P(TransactionsTest, MandatoryIsReturnedBeforeCommitOk) {
  ch().call(tx_select());
  ch().publish("", "nowhere " + q(), "body", {}, {.mandatory = true});
  ch().send(tx_commit());
  EXPECT_EQ(ch().returned_first().reply_code, 312);
  EXPECT_EQ(ch().next().id, AMQP_TX_COMMIT_OK_METHOD);
}

TEST_P(TransactionsTest, CommitAndRollbackWithoutSelectAre406) {
  ch().refuses(tx_commit(), 406);
  ch().refuses(tx_rollback(), 406);
}

TEST_P(TransactionsTest, ExcludesConfirms) {
  ch().call(tx_select());
  ch().refuses(confirm_select(), 406);
  ch().call(confirm_select());
  ch().refuses(tx_select(), 406);
}

TEST_P(TransactionsTest, SelectingTwiceIsFine) {
  ch().call(tx_select());
  ch().call(tx_select());
}

// What the commit acknowledged was neither settled nor put back.
// RabbitMQ: a commit is all or nothing there, and loses them.
TEST_P(TransactionsEmbeddedTest, CommitThatFailsKeepsNoDelivery) {
  const std::string x = exchange_name();
  ch().declare(q());
  ch().declare_exchange(x, "fanout");
  ch().publish(q(), "body");
  ch().await_ready(q(), 1);
  Channel other = client().channel(2);
  other.call(tx_select());
  other.ack(other.get(q(), false)->tag);
  other.publish(x, "", "body");
  other.sync();
  ch().call(exchange_delete(x));
  other.send(tx_commit());
  other.expect_close(404, AMQP_TX_COMMIT_METHOD);
  ch().await_ready(q(), 1);
}

}  // namespace
}  // namespace postoffice::amqp_test
