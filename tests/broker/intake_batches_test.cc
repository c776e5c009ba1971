#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/callback_batches.h"
#include "broker/callback_message.h"
#include "tests/broker/answers.h"

namespace postoffice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kDeadline = Millis(250);
constexpr size_t kMaxOutstanding = 2;

// The rules, at made-up times.
class CallbackBatchesTest : public testing::Test {
 protected:
  using Batch = CallbackBatches::Batch;

  void add(const std::string& line, bool broker_available = true, int64_t received_at = 1000) {
    batches_.add(now_, now_ - waited_, broker_available, {line, 1, from_unix_millis(received_at)},
                 answers_.done(line));
  }
  Batch send() { return batches_.next_to_send(now_); }
  void settle(const Batch& batch, PublishOutcome outcome) {
    batches_.settled(batch, outcome, now_).give();
  }
  void pass(Millis time) { now_ += time; }
  // One transaction; returns the bodies that were to be stored.
  std::vector<std::string> commit(std::optional<OutboxRefusal> refusal = std::nullopt,
                                  bool broker_available = true) {
    return finish(batches_.begin(now_), refusal, broker_available);
  }
  std::vector<std::string> finish(CallbackBatches::Transaction transaction,
                                  std::optional<OutboxRefusal> refusal, bool broker_available) {
    std::vector<std::string> bodies;
    for (auto& entry : transaction.entries) {
      bodies.push_back(entry.body);
      if (!refusal) entry.id = next_id_++;
    }
    removals_ = transaction.removals;
    for (auto& answer : batches_.finish(std::move(transaction), refusal, broker_available, now_)) {
      answer.give();
    }
    return bodies;
  }
  void open_breaker() { batches_.open_breaker(now_, "test"); }
  bool open() const { return batches_.breaker().is_open(); }

  Answers answers_;
  SteadyClock::time_point now_ = SteadyClock::now();
  Millis waited_{0};  // What lines added have waited before.
  uint64_t next_id_ = 1;
  std::vector<uint64_t> removals_;  // Of the last transaction.
  CallbackBatches batches_{kDeadline, kMaxOutstanding};
};

TEST_F(CallbackBatchesTest, SendsALoneLineAtOnce) {
  add("a");
  const Batch batch = send();
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->body, "a");
  EXPECT_EQ(send(), nullptr);
  settle(batch, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByBroker));
  EXPECT_EQ(batches_.bytes(), 0u);
  EXPECT_EQ(batches_.next_deadline(), std::nullopt);
}

TEST_F(CallbackBatchesTest, TheDeadlineCountsFromTheArrivalOfTheLineThatWaitedLongest) {
  add("a");
  const Batch a = send();
  add("b");
  const Batch b = send();
  add("c");
  waited_ = kDeadline - Millis(1);
  add("d");
  EXPECT_EQ(batches_.next_deadline(), now_ + Millis(1));
  pass(Millis(1));
  batches_.expire(now_);
  EXPECT_TRUE(open());
  EXPECT_THAT(commit(), ElementsAre("cd"));
}

TEST_F(CallbackBatchesTest, ALineThatUsedUpItsTimeBeforeOpensTheBreaker) {
  add("a");
  waited_ = kDeadline;
  add("b");
  EXPECT_TRUE(open());
  EXPECT_EQ(send(), nullptr);
  EXPECT_THAT(commit(), ElementsAre("ab"));
  EXPECT_THAT(answers_.of("b"), ElementsAre(Accepted::kByOutbox));
}

TEST_F(CallbackBatchesTest, ALineThatUsedUpItsTimeIsStillTriedInPlaceOfAnOutboxThatRefuses) {
  open_breaker();
  add("a", false);
  commit(OutboxRefusal::kFull, false);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kRefused));
  waited_ = 10 * kDeadline;
  add("b");
  const Batch b = send();
  ASSERT_NE(b, nullptr);
  pass(kDeadline - Millis(1));
  batches_.expire(now_);
  settle(b, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("b"), ElementsAre(Accepted::kByBroker));
}

TEST_F(CallbackBatchesTest, GathersLinesWhileTheWindowIsFull) {
  add("a");
  const Batch a = send();
  add("b");
  const Batch b = send();
  add("c");
  add("d");
  EXPECT_EQ(send(), nullptr);
  settle(a, PublishOutcome::kConfirmed);
  const Batch both = send();
  ASSERT_NE(both, nullptr);
  EXPECT_EQ(both->body, "cd");
  settle(both, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("c"), ElementsAre(Accepted::kByBroker));
  EXPECT_THAT(answers_.of("d"), ElementsAre(Accepted::kByBroker));
  EXPECT_THAT(answers_.of("b"), IsEmpty());
}

TEST_F(CallbackBatchesTest, MoreMessagesAreInFlightOnlyIfTheyAreFull) {
  CallbackBatches batches(kDeadline, 4);
  const auto add_to = [&](const std::string& line) {
    batches.add(now_, now_, true, {line, 1, from_unix_millis(1000)}, answers_.done(line));
  };
  const std::string full(kMessageBytes, 'f');
  for (size_t i = 0; i < CallbackBatches::kMostNotFull; ++i) {
    add_to("a");
    ASSERT_NE(batches.next_to_send(now_), nullptr);
  }
  add_to("b");
  EXPECT_EQ(batches.next_to_send(now_), nullptr);
  add_to(full);  // Finds no room beside "b", which goes as it is.
  const Batch b = batches.next_to_send(now_);
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->body, "b");
  EXPECT_EQ(batches.next_to_send(now_), nullptr);
  add_to("c");
  ASSERT_NE(batches.next_to_send(now_), nullptr);
  add_to(full);
  EXPECT_EQ(batches.next_to_send(now_), nullptr) << "four are in flight";
}

TEST_F(CallbackBatchesTest, AMessageHasAtMostItsSizeUnlessALineIsLarger) {
  const std::string half(kMessageBytes / 2, 'h');
  const std::string large(kMessageBytes + 1, 'l');
  for (const std::string& line : {half, half, std::string("x"), large, std::string("y")}) add(line);
  std::vector<size_t> sizes;
  while (const Batch batch = send()) {
    sizes.push_back(batch->body.size());
    settle(batch, PublishOutcome::kConfirmed);
  }
  EXPECT_THAT(sizes, ElementsAre(kMessageBytes, 1, kMessageBytes + 1, 1));
}

TEST_F(CallbackBatchesTest, AnEntryHasAtMostItsSizeUnlessALineIsLarger) {
  open_breaker();
  const std::string half(kMessageBytes / 2, 'h');
  const std::string large(kMessageBytes + 1, 'l');
  for (const std::string& line : {half, half, std::string("x"), large, std::string("y")}) add(line);
  EXPECT_THAT(commit(), ElementsAre(half + half, "x", large, "y"));
}

TEST_F(CallbackBatchesTest, CarriesTheOldestReceiveTime) {
  open_breaker();
  add("a", true, 3000);
  add("b", true, 1000);
  add("c", true, 2000);
  auto transaction = batches_.begin(now_);
  ASSERT_EQ(transaction.entries.size(), 1u);
  EXPECT_EQ(transaction.entries[0].callbacks, 3u);
  EXPECT_EQ(transaction.entries[0].oldest_received_at, from_unix_millis(1000));
  finish(std::move(transaction), std::nullopt, true);
}

TEST_F(CallbackBatchesTest, AMissedDeadlineSendsWhatIsLateAndWhatWaitsToTheOutbox) {
  add("a");
  const Batch a = send();
  pass(Millis(100));
  add("b");
  const Batch b = send();
  add("waits");
  EXPECT_EQ(batches_.next_deadline(), a->deadline);
  pass(Millis(149));
  batches_.expire(now_);
  EXPECT_FALSE(batches_.outbox_has_work());
  pass(Millis(1));
  batches_.expire(now_);
  EXPECT_TRUE(open());
  EXPECT_THAT(commit(), ElementsAre("a", "waits"));
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByOutbox));
  EXPECT_THAT(answers_.of("waits"), ElementsAre(Accepted::kByOutbox));
  EXPECT_EQ(batches_.next_deadline(), b->deadline);
  settle(b, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("b"), ElementsAre(Accepted::kByBroker));
}

TEST_F(CallbackBatchesTest, ALineThatWaitsInMemoryMissesItsDeadlineToo) {
  add("a");
  add("b");
  const Batch a = send();
  pass(Millis(200));
  settle(a, PublishOutcome::kConfirmed);
  for (const char* line : {"c", "d", "e"}) {
    add(line);
    send();
  }
  add("waits");
  pass(kDeadline);
  batches_.expire(now_);
  EXPECT_TRUE(batches_.outbox_has_work());
  EXPECT_EQ(batches_.next_deadline(), std::nullopt);
}

TEST_F(CallbackBatchesTest, WithTheBreakerOpenLinesGoStraightToTheOutbox) {
  open_breaker();
  add("a");
  add("b");
  EXPECT_EQ(send(), nullptr);
  EXPECT_THAT(commit(), ElementsAre("ab"));
  EXPECT_EQ(batches_.bytes(), 0u);
}

class CallbackBatchesFailure : public CallbackBatchesTest,
                               public testing::WithParamInterface<PublishOutcome> {};

TEST_P(CallbackBatchesFailure, SendsTheMessageToTheOutboxAtOnceAndOpensTheBreaker) {
  add("a");
  const Batch a = send();
  add("b");
  settle(a, GetParam());
  EXPECT_TRUE(open());
  EXPECT_THAT(commit(), ElementsAre("a", "b"));
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByOutbox));
}

INSTANTIATE_TEST_SUITE_P(Outcome, CallbackBatchesFailure,
                         testing::Values(PublishOutcome::kReturned, PublishOutcome::kNacked,
                                         PublishOutcome::kUnavailable, PublishOutcome::kUnknown));

TEST_F(CallbackBatchesTest, AnUnconfirmedMessageHasAnEntryOfItsOwn) {
  add("a");
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  add("b");
  EXPECT_THAT(commit(), ElementsAre("a", "b"));
}

TEST_F(CallbackBatchesTest, AConfirmThatComesBeforeTheTransactionNeedsNone) {
  add("a");
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  settle(a, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByBroker));
  EXPECT_THAT(commit(), IsEmpty());
}

TEST_F(CallbackBatchesTest, ALateConfirmRemovesTheEntry) {
  add("a", true, 4711);
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  commit();
  EXPECT_FALSE(batches_.outbox_has_work());
  settle(a, PublishOutcome::kConfirmed);
  EXPECT_EQ(batches_.take_confirmed_late(), from_unix_millis(4711));
  EXPECT_EQ(batches_.take_confirmed_late(), std::nullopt);
  EXPECT_TRUE(batches_.outbox_has_work());
  commit();
  EXPECT_THAT(removals_, ElementsAre(1));
  EXPECT_EQ(answers_.count(), 1u);
}

TEST_F(CallbackBatchesTest, AConfirmDuringTheTransactionRemovesTheEntry) {
  add("a", true, 4711);
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  auto transaction = batches_.begin(now_);
  settle(a, PublishOutcome::kConfirmed);
  finish(std::move(transaction), std::nullopt, true);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByOutbox));
  EXPECT_EQ(batches_.take_confirmed_late(), from_unix_millis(4711));
  commit();
  EXPECT_THAT(removals_, ElementsAre(1));
}

TEST_F(CallbackBatchesTest, AConfirmDuringARefusedTransactionIsAnAnswer) {
  add("a");
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  auto transaction = batches_.begin(now_);
  settle(a, PublishOutcome::kConfirmed);
  finish(std::move(transaction), OutboxRefusal::kFull, true);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByBroker));
}

TEST_F(CallbackBatchesTest, AConfirmAfterTheRefusalIsIgnored) {
  add("a");
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  commit(OutboxRefusal::kFull);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kRefused));
  settle(a, PublishOutcome::kConfirmed);
  EXPECT_EQ(answers_.count(), 1u);
  EXPECT_FALSE(batches_.outbox_has_work());
  EXPECT_EQ(batches_.bytes(), 0u);
}

TEST_F(CallbackBatchesTest, ALateFailureChangesNothing) {
  add("a");
  const Batch a = send();
  pass(kDeadline);
  batches_.expire(now_);
  commit();
  settle(a, PublishOutcome::kUnknown);
  EXPECT_FALSE(batches_.outbox_has_work());
  EXPECT_EQ(answers_.count(), 1u);
}

TEST_F(CallbackBatchesTest, TheBreakerClosesByAConfirmInTimeOfAMessageSentSinceItOpened) {
  const auto before = now_;
  pass(Millis(1));
  open_breaker();
  batches_.drainer_confirmed(before, now_);
  EXPECT_TRUE(open()) << "sent before it opened";
  batches_.drainer_confirmed(now_, now_ + kDeadline + Millis(1));
  EXPECT_TRUE(open()) << "too slow";
  batches_.drainer_confirmed(now_, now_ + kDeadline);
  EXPECT_FALSE(open());
}

TEST_F(CallbackBatchesTest, AMessageSentBeforeDoesNotCloseTheBreaker) {
  add("a");
  add("b");
  const Batch a = send();
  add("c");
  const Batch c = send();
  pass(Millis(10));
  settle(a, PublishOutcome::kNacked);
  settle(c, PublishOutcome::kConfirmed);
  EXPECT_TRUE(open());
}

// Promise 2: refused only when neither broker nor outbox can take it.

TEST_F(CallbackBatchesTest, WhatTheOutboxRefusesIsTriedAtTheBroker) {
  open_breaker();
  add("a");
  commit(OutboxRefusal::kFull);
  EXPECT_THAT(answers_.of("a"), IsEmpty());
  const Batch a = send();
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->body, "a");
  pass(Millis(1));
  settle(a, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kByBroker));
  EXPECT_FALSE(open()) << "the broker is fine";
}

TEST_F(CallbackBatchesTest, WhatTheOutboxRefusesIsTriedAtTheBrokerOnce) {
  open_breaker();
  add("a");
  commit(OutboxRefusal::kFull);
  const Batch a = send();
  settle(a, PublishOutcome::kReturned);
  EXPECT_THAT(commit(OutboxRefusal::kFull), ElementsAre("a"));
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kRefused));
  EXPECT_EQ(batches_.bytes(), 0u);
}

TEST_F(CallbackBatchesTest, WhatWaitsToBeTriedIsNotKeptWaitingForEver) {
  open_breaker();
  for (int i = 0; i < 3; ++i) add(std::string(kMessageBytes, static_cast<char>('a' + i)));
  commit(OutboxRefusal::kFull);
  send();
  send();
  ASSERT_EQ(send(), nullptr);
  pass(kDeadline);
  batches_.expire(now_);
  commit(OutboxRefusal::kFull);
  EXPECT_EQ(answers_.count(), 3u);
  EXPECT_EQ(batches_.bytes(), 0u);
}

TEST_F(CallbackBatchesTest, RefusedWhenTheBrokerIsAwayAsWell) {
  open_breaker();
  add("a", false);
  commit(OutboxRefusal::kFailed, false);
  EXPECT_THAT(answers_.of("a"), ElementsAre(Accepted::kRefused));
}

TEST_F(CallbackBatchesTest, WhileTheOutboxRefusesTheBrokerIsFirst) {
  open_breaker();
  add("a", false);
  commit(OutboxRefusal::kFull, false);
  add("b", true);
  const Batch b = send();
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->body, "b");
}

TEST_F(CallbackBatchesTest, TheOutboxIsAskedAgainWhenTheBrokerIsAway) {
  open_breaker();
  add("a", false);
  commit(OutboxRefusal::kFull, false);
  add("b", false);
  EXPECT_THAT(commit(), ElementsAre("b"));
  EXPECT_THAT(answers_.of("b"), ElementsAre(Accepted::kByOutbox));
  add("c", true);
  EXPECT_EQ(send(), nullptr);
}

TEST_F(CallbackBatchesTest, ABrokerThatHangsIsGivenOnlySoMuch) {
  open_breaker();
  add("first", false);
  commit(OutboxRefusal::kFull, false);
  size_t sent = 0;
  std::vector<Batch> held;
  for (int i = 0; i < 20; ++i) {
    add("line " + std::to_string(i));
    while (Batch batch = send()) {
      held.push_back(batch);
      ++sent;
    }
    pass(kDeadline);
    batches_.expire(now_);
    commit(OutboxRefusal::kFull);
  }
  EXPECT_EQ(answers_.count(), 21u) << "each is answered";
  EXPECT_LE(sent, 2 * kMaxOutstanding);
  for (const auto& batch : held) settle(batch, PublishOutcome::kUnknown);
  add("again");
  EXPECT_NE(send(), nullptr);
}

TEST_F(CallbackBatchesTest, AnOutboxThatIsStuckDoesNotKeepTheBrokerFromBeingTried) {
  open_breaker();
  add("a");
  auto transaction = batches_.begin(now_);
  pass(kDeadline);
  add("b");
  EXPECT_EQ(send(), nullptr) << "still within the deadline";
  pass(Millis(1));
  add("c");
  const Batch c = send();
  ASSERT_NE(c, nullptr);
  settle(c, PublishOutcome::kConfirmed);
  EXPECT_THAT(answers_.of("c"), ElementsAre(Accepted::kByBroker));
  finish(std::move(transaction), std::nullopt, true);
  commit();
  EXPECT_EQ(answers_.count(), 3u);
}

}  // namespace
}  // namespace postoffice
