#include "broker/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "broker/sqlite_outbox.h"
#include "tests/broker/answers.h"
#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Well over the deadline plus a commit, also with sanitizers on a busy machine; under what a wedge
// would take.
constexpr auto kPatience = Millis(8000);
// Longer than any test.
constexpr auto kNoDeadline = Millis(60'000);

class IntakeTest : public testing::Test {
 protected:
  explicit IntakeTest(Millis deadline = kNoDeadline)
      : intake_({.deadline = deadline, .max_outstanding = 2, .max_waiting_bytes = 1 << 20},
                publisher_, outbox_, metrics_) {}
  ~IntakeTest() override {
    confirm_all(publisher_);  // Else stop() waits for it until the deadline.
    intake_.stop();
  }

  static void confirm_all(ScriptedPublisher& publisher) {
    publisher.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
    publisher.settle_held(PublishOutcome::kConfirmed);
  }

  void accept(const std::string& line, int64_t received_at = 1000) {
    intake_.accept(line, from_unix_millis(received_at), answers_.done(line));
  }
  // Opens the breaker by one line that ends up in the outbox, and keeps it there.
  void open_breaker() {
    publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kReturned));
    accept("opens\n");
    ASSERT_TRUE(answers_.wait_for(1));
    ASSERT_TRUE(intake_.breaker_open());
  }
  bool wait_for_breaker(bool open) {
    const auto give_up = SteadyClock::now() + std::chrono::seconds(10);
    while (intake_.breaker_open() != open && SteadyClock::now() < give_up)
      std::this_thread::yield();
    return intake_.breaker_open() == open;
  }

  Metrics metrics_;
  Answers answers_;
  MemoryOutbox outbox_;
  ScriptedPublisher publisher_;
  Intake intake_;
};

// Where the broker does not answer in time.
class IntakeDeadlineTest : public IntakeTest {
 protected:
  IntakeDeadlineTest() : IntakeTest(Millis(100)) {}
};

TEST_F(IntakeTest, AnswersByTheBrokerOnceConfirmed) {
  intake_.start();
  accept("a\n");
  ASSERT_TRUE(publisher_.wait_for_held(1));
  EXPECT_EQ(answers_.count(), 0u);
  publisher_.settle_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(answers_.wait_for(1));
  EXPECT_THAT(answers_.of("a\n"), ElementsAre(Accepted::kByBroker));
  EXPECT_THAT(outbox_.bodies(), IsEmpty());
}

TEST_F(IntakeTest, CoalescesWhileMessagesAreUnconfirmed) {
  intake_.start();
  for (const char* line : {"a\n", "b\n", "c\n", "d\n"}) accept(line);
  ASSERT_TRUE(publisher_.wait_for_held(2));
  publisher_.settle_first_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(publisher_.wait_for_published(3));
  publisher_.settle_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(answers_.wait_for(4));
  EXPECT_THAT(publisher_.published(), ElementsAre("a\n", "b\n", "c\nd\n"));
  EXPECT_THAT(metrics_.text(), HasSubstr("postoffice_intake_messages_total 3"));
  EXPECT_THAT(metrics_.text(), HasSubstr("postoffice_intake_message_callbacks_sum 4"));
}

TEST_F(IntakeDeadlineTest, ABrokerThatNeverSettlesDelaysNothingBeyondTheDeadline) {
  intake_.start();
  for (int round = 0; round < 5; ++round) {
    const auto started = SteadyClock::now();
    for (int i = 0; i < 20; ++i) accept(std::to_string(round * 100 + i) + "\n");
    ASSERT_TRUE(answers_.wait_for(static_cast<size_t>(round + 1) * 20));
    EXPECT_LT(SteadyClock::now() - started, kPatience);
  }
  for (const auto& [line, all] : answers_.all()) {
    EXPECT_THAT(all, ElementsAre(Accepted::kByOutbox)) << line;
  }
  EXPECT_TRUE(intake_.breaker_open());
}

// The outbox thread sleeps until the deadline of the first by then.
TEST_F(IntakeTest, ALineThatHasWaitedBeforeIsAnsweredByItsOwnDeadline) {
  Answers answers;
  Intake intake({.deadline = kNoDeadline}, publisher_, outbox_, metrics_);
  intake.start();
  intake.accept("a\n", unix_now(), answers.done("a\n"));
  ASSERT_TRUE(publisher_.wait_for_held(1));
  intake.accept("b\n", unix_now(), answers.done("b\n"),
                SteadyClock::now() - kNoDeadline + Millis(100));
  ASSERT_TRUE(answers.wait_for(1));
  EXPECT_THAT(answers.of("b\n"), ElementsAre(Accepted::kByOutbox));
  EXPECT_TRUE(intake.breaker_open());
  EXPECT_THAT(answers.of("a\n"), IsEmpty());
  confirm_all(publisher_);
  ASSERT_TRUE(answers.wait_for(2));
  intake.stop();
}

TEST_F(IntakeDeadlineTest, WhatComesWhileOthersWaitForTheDeadlineIsAnsweredWithThem) {
  intake_.start();
  accept("a\n");
  accept("b\n");
  accept("waits\n");
  ASSERT_TRUE(answers_.wait_for(3));
  EXPECT_THAT(answers_.of("waits\n"), ElementsAre(Accepted::kByOutbox));
}

TEST_F(IntakeDeadlineTest, ALateConfirmDeletesTheEntry) {
  intake_.start();
  accept("a\n", 4711);
  ASSERT_TRUE(answers_.wait_for(1));
  ASSERT_TRUE(outbox_.wait_for_entries(1));
  EXPECT_EQ(intake_.oldest_unforwarded(), from_unix_millis(4711));
  publisher_.settle_first_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_EQ(intake_.oldest_unforwarded(), from_unix_millis(4711)) << "it is in the queue, late";
  intake_.forwarded_settled();
  intake_.forwarded_settled();
  EXPECT_EQ(intake_.oldest_unforwarded(), std::nullopt);
}

TEST_F(IntakeTest, TheBreakerOpensAtAFailureAndTheLineIsInTheOutboxAtOnce) {
  for (const auto outcome :
       {PublishOutcome::kReturned, PublishOutcome::kNacked, PublishOutcome::kUnknown}) {
    SCOPED_TRACE(static_cast<int>(outcome));
    Answers answers;
    ScriptedPublisher publisher;
    MemoryOutbox outbox;
    Intake intake({.deadline = std::chrono::hours(1)}, publisher, outbox, metrics_);
    publisher.set_script(ScriptedPublisher::always(outcome));
    intake.start();
    intake.accept("a\n", unix_now(), answers.done("a\n"));
    ASSERT_TRUE(answers.wait_for(1));
    EXPECT_THAT(answers.of("a\n"), ElementsAre(Accepted::kByOutbox));
    EXPECT_TRUE(intake.breaker_open());
  }
}

TEST_F(IntakeTest, TheDrainersConfirmClosesTheBreaker) {
  intake_.start();
  open_breaker();
  EXPECT_THAT(metrics_.text(), HasSubstr("postoffice_intake_breaker_open 1"));
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  ASSERT_TRUE(wait_for_breaker(false));
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  accept("direct\n");
  ASSERT_TRUE(answers_.wait_for(2));
  EXPECT_THAT(answers_.of("direct\n"), ElementsAre(Accepted::kByBroker));
  EXPECT_THAT(metrics_.text(), HasSubstr("postoffice_intake_breaker_open 0"));
}

TEST_F(IntakeTest, StartsWithTheBreakerOpenWhenTheBrokerIsAway) {
  publisher_.set_available(false);
  intake_.start();
  EXPECT_TRUE(intake_.breaker_open());
  accept("a\n");
  ASSERT_TRUE(answers_.wait_for(1));
  EXPECT_THAT(answers_.of("a\n"), ElementsAre(Accepted::kByOutbox));
  EXPECT_THAT(publisher_.published(), IsEmpty());
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  publisher_.set_available(true);
  EXPECT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_TRUE(wait_for_breaker(false));
}

TEST_F(IntakeTest, TheBreakerClosesWhenTheBrokerComesBackAndNothingIsInTheOutbox) {
  publisher_.set_available(false);
  intake_.start();
  ASSERT_TRUE(intake_.breaker_open());
  publisher_.set_available(true);
  EXPECT_FALSE(intake_.breaker_open());
  publisher_.set_available(false);
  EXPECT_TRUE(intake_.breaker_open());
  accept("a\n");
  ASSERT_TRUE(answers_.wait_for(1));
  publisher_.set_available(true);
  ASSERT_TRUE(publisher_.wait_for_held(1));
  EXPECT_TRUE(intake_.breaker_open()) << "the drainer's message is the probe";
}

TEST_F(IntakeTest, ABlockedBrokerSendsEverythingToTheOutboxAtOnce) {
  intake_.start();
  accept("in flight\n");
  accept("in flight too\n");
  accept("waits\n");
  ASSERT_TRUE(publisher_.wait_for_held(2));
  publisher_.set_available(false, false);
  accept("later\n");
  ASSERT_TRUE(answers_.wait_for(2));
  EXPECT_THAT(answers_.of("waits\n"), ElementsAre(Accepted::kByOutbox));
  EXPECT_THAT(answers_.of("later\n"), ElementsAre(Accepted::kByOutbox));
  EXPECT_EQ(publisher_.published().size(), 2u);
}

TEST_F(IntakeTest, WhatWaitsIsCommittedTogether) {
  publisher_.set_available(false);
  intake_.start();
  outbox_.stall(true);
  accept("first\n");
  ASSERT_TRUE(outbox_.wait_for_stalled_append());
  for (int i = 0; i < 50; ++i) accept(std::to_string(i) + "\n");
  outbox_.stall(false);
  ASSERT_TRUE(answers_.wait_for(51));
  EXPECT_EQ(outbox_.transactions(), 2u);
  EXPECT_EQ(outbox_.bodies().size(), 2u);
  EXPECT_THAT(metrics_.text(), HasSubstr("postoffice_outbox_appends_total 51"));
}

TEST_F(IntakeTest, RefusesWhenNeitherTakesIt) {
  publisher_.set_available(false);
  outbox_.refuse(OutboxRefusal::kFull);
  intake_.start();
  accept("a\n");
  ASSERT_TRUE(answers_.wait_for(1));
  EXPECT_THAT(answers_.of("a\n"), ElementsAre(Accepted::kRefused));
  outbox_.refuse(std::nullopt);
  accept("b\n");
  ASSERT_TRUE(answers_.wait_for(2));
  EXPECT_THAT(answers_.of("b\n"), ElementsAre(Accepted::kByOutbox));
}

TEST_F(IntakeTest, AFullDiskRefusesNothingWhileTheBrokerIsFine) {
  for (const auto refusal : {OutboxRefusal::kFull, OutboxRefusal::kFailed}) {
    Answers answers;
    ScriptedPublisher publisher(false);
    MemoryOutbox outbox;
    std::vector<OutboxEntry> left = {{0, "left\n", 1, from_unix_millis(1)}};
    outbox.append(left, {});
    outbox.make_unreadable(true);  // So that no probe of the drainer helps.
    outbox.refuse(refusal);
    Intake intake({.deadline = kNoDeadline}, publisher, outbox, metrics_);
    publisher.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
    intake.start();
    ASSERT_TRUE(intake.breaker_open());
    publisher.set_available(true);
    for (int i = 0; i < 1000; ++i) {
      const std::string line = std::to_string(i) + "\n";
      intake.accept(line, unix_now(), answers.done(line));
    }
    ASSERT_TRUE(answers.wait_for(1000));
    for (const auto& [line, all] : answers.all()) {
      EXPECT_THAT(all, ElementsAre(Accepted::kByBroker)) << line;
    }
    EXPECT_FALSE(intake.breaker_open());
  }
}

TEST_F(IntakeDeadlineTest, AHangingBrokerAndAFullDiskRefuseInTime) {
  outbox_.refuse(OutboxRefusal::kFull);
  intake_.start();
  for (size_t i = 0; i < 10; ++i) {
    const auto started = SteadyClock::now();
    accept(std::to_string(i) + "\n");
    ASSERT_TRUE(answers_.wait_for(i + 1));
    EXPECT_LT(SteadyClock::now() - started, kPatience);
    EXPECT_THAT(answers_.of(std::to_string(i) + "\n"), ElementsAre(Accepted::kRefused));
  }
  publisher_.settle_held(PublishOutcome::kConfirmed);
  publisher_.flush();
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  // A machine that stalls may miss the deadline once more.
  bool resumed = false;
  for (size_t i = 10; i < 30 && !resumed; ++i) {
    const std::string line = "resumed " + std::to_string(i) + "\n";
    accept(line);
    ASSERT_TRUE(answers_.wait_for(i + 1));
    resumed = answers_.of(line) == std::vector{Accepted::kByBroker};
  }
  EXPECT_TRUE(resumed);
}

TEST_F(IntakeTest, RefusesWhatDoesNotFitInMemory) {
  publisher_.set_available(false);
  intake_.start();
  outbox_.stall(true);
  const std::string line(100'000, 'x');
  size_t sent = 0;
  for (; sent < 15; ++sent) intake_.accept(line, unix_now(), answers_.done(line));
  EXPECT_EQ(answers_.count(), 5u) << "1 MiB holds ten";
  EXPECT_THAT(answers_.of(line), testing::Each(Accepted::kRefused));
  outbox_.stall(false);
  ASSERT_TRUE(answers_.wait_for(15));
  accept("now\n");
  ASSERT_TRUE(answers_.wait_for(16));
  EXPECT_THAT(answers_.of("now\n"), ElementsAre(Accepted::kByOutbox));
}

TEST_F(IntakeDeadlineTest, StopAnswersEverythingAndRefusesWhatComesAfter) {
  intake_.start();
  for (int i = 0; i < 10; ++i) accept(std::to_string(i) + "\n");
  intake_.stop();
  EXPECT_EQ(answers_.count(), 10u);
  accept("late\n");
  EXPECT_THAT(answers_.of("late\n"), ElementsAre(Accepted::kRefused));
  intake_.stop();
}

TEST_F(IntakeTest, RefusesBeforeStart) {
  accept("early\n");
  EXPECT_THAT(answers_.of("early\n"), ElementsAre(Accepted::kRefused));
}

TEST_F(IntakeTest, MayBeStartedAgain) {
  intake_.start();
  intake_.stop();
  intake_.start();
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  accept("a\n");
  ASSERT_TRUE(answers_.wait_for(1));
  EXPECT_THAT(answers_.of("a\n"), ElementsAre(Accepted::kByBroker));
}

TEST_F(IntakeTest, MessagesMayBeSettledAfterItIsGone) {
  ScriptedPublisher publisher;
  Answers answers;
  {
    Intake intake({.deadline = Millis(10)}, publisher, outbox_, metrics_);
    intake.start();
    intake.accept("a\n", unix_now(), answers.done("a\n"));
  }
  EXPECT_THAT(answers.of("a\n"), ElementsAre(Accepted::kByOutbox));
  publisher.settle_held(PublishOutcome::kConfirmed);
  publisher.set_available(false);
  EXPECT_EQ(answers.count(), 1u);
}

TEST_F(IntakeTest, ARestartForwardsWhatTheRunBeforeLeft) {
  const TempFolder folder;
  const SqliteOutbox::Options options{.data_dir = folder.path(), .min_free_bytes = 0};
  {
    SqliteOutbox outbox(options);
    ScriptedPublisher publisher(false);
    Answers answers;
    Intake intake({}, publisher, outbox, metrics_);
    intake.start();
    for (int i = 0; i < 100; ++i) {
      intake.accept("{" + std::to_string(i) + "}\n", from_unix_millis(i), answers.done("x"));
    }
    ASSERT_TRUE(answers.wait_for(100));
    EXPECT_EQ(intake.oldest_unforwarded(), from_unix_millis(0));
  }
  SqliteOutbox outbox(options);
  EXPECT_EQ(outbox.depth().callbacks, 100u);
  ScriptedPublisher publisher;
  publisher.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  Intake intake({.deadline = kNoDeadline}, publisher, outbox, metrics_);
  intake.start();
  const auto give_up = SteadyClock::now() + std::chrono::seconds(10);
  while (outbox.depth().entries > 0 && SteadyClock::now() < give_up) std::this_thread::yield();
  std::string expected, got;
  for (int i = 0; i < 100; ++i) expected += "{" + std::to_string(i) + "}\n";
  for (const auto& body : publisher.confirmed()) got += body;
  EXPECT_EQ(got, expected);
  EXPECT_FALSE(intake.breaker_open());
}

}  // namespace
}  // namespace postoffice
