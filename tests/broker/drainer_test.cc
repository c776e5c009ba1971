#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "broker/callback_message.h"
#include "broker/outbox_drainer.h"
#include "broker/sqlite_outbox.h"
#include "broker/topology.h"
#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// A body that leaves no room for another in its message.
std::string large(const std::string& name) { return name + std::string(kMessageBytes, '.'); }

class OutboxDrainerTest : public testing::Test {
 protected:
  OutboxDrainerTest() {
    publisher_.on_availability(
        [this](bool available) { drainer_.availability_changed(available); });
  }
  ~OutboxDrainerTest() override {
    drainer_.stop();
    publisher_.on_availability(nullptr);
  }

  void append(const std::vector<std::string>& bodies, int64_t received_at = 1000) {
    std::vector<OutboxEntry> entries;
    for (const auto& body : bodies) {
      entries.push_back({0, body, 1, from_unix_millis(received_at++)});
    }
    outbox_.append(entries, {});
    drainer_.wake();
  }
  static OutboxDrainer::Options options() {
    return {.max_in_flight = 4,
            .stop_wait = Millis(50),
            .least_backoff = Millis(1),
            .most_backoff = Millis(20)};
  }

  Metrics metrics_;
  MemoryOutbox outbox_;
  ScriptedPublisher publisher_;
  ForwardedTimes forwarded_;
  std::mutex mutex_;
  size_t confirmed_ = 0;
  OutboxDrainer drainer_{options(),
                         publisher_,
                         outbox_,
                         forwarded_,
                         [this](auto sent_at, auto settled_at) {
                           EXPECT_LE(sent_at, settled_at);
                           const std::lock_guard lock(mutex_);
                           ++confirmed_;
                         },
                         metrics_};
};

TEST_F(OutboxDrainerTest, ForwardsInOrderAndRemovesWhatWasConfirmed) {
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  std::vector<std::string> bodies;
  for (int i = 0; i < 100; ++i) bodies.push_back(large(std::to_string(i)));
  append(bodies);
  drainer_.start();
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_EQ(publisher_.published(), bodies);
}

TEST_F(OutboxDrainerTest, EntriesThatFollowEachOtherShareAMessage) {
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  const std::string half(kMessageBytes / 2, 'h');
  append({"a\n", "b\n", half, half, "c\n"});
  drainer_.start();
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_THAT(publisher_.published(), ElementsAre("a\nb\n" + half, half + "c\n"));
}

TEST_F(OutboxDrainerTest, PublishesToTheCallbacksQueue) {
  std::string routing_key;
  publisher_.set_script([&](const Message& message) {
    routing_key = message.routing_key;
    return PublishOutcome::kConfirmed;
  });
  append({"a"});
  drainer_.start();
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_EQ(routing_key, topology::kCallbacks);
}

TEST_F(OutboxDrainerTest, KeepsSoManyInFlightAndNoMore) {
  append(std::vector<std::string>(10, large("x")));
  drainer_.start();
  ASSERT_TRUE(publisher_.wait_for_held(4));
  publisher_.settle_first_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(publisher_.wait_for_published(5));
  EXPECT_EQ(publisher_.most_held(), 4u);
  ASSERT_TRUE(outbox_.wait_for_entries(9));
}

TEST_F(OutboxDrainerTest, SendsWhatIsAppendedWhileOthersAreInFlight) {
  append({"a"});
  drainer_.start();
  ASSERT_TRUE(publisher_.wait_for_held(1));
  append({"b"});
  ASSERT_TRUE(publisher_.wait_for_held(2));
  EXPECT_THAT(publisher_.published(), ElementsAre("a", "b"));
}

TEST_F(OutboxDrainerTest, SendsNothingWhileTheBrokerIsAwayAndAllOfItWhenItIsBack) {
  publisher_.set_available(false);
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  append({"a"});
  drainer_.start();
  EXPECT_THAT(publisher_.published(), IsEmpty());
  publisher_.set_available(true);
  ASSERT_TRUE(outbox_.wait_for_entries(0));
}

class OutboxDrainerFailure : public OutboxDrainerTest,
                             public testing::WithParamInterface<PublishOutcome> {};

TEST_P(OutboxDrainerFailure, KeepsTheEntryAndStartsAgainFromTheFirstOneLeft) {
  append({large("a"), large("b"), large("c")});
  drainer_.start();
  ASSERT_TRUE(publisher_.wait_for_held(3));
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  publisher_.settle_first_held(PublishOutcome::kConfirmed);
  publisher_.settle_first_held(GetParam());
  EXPECT_EQ(publisher_.published().size(), 3u) << "waits for what is in flight";
  publisher_.settle_first_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_THAT(publisher_.published(), ElementsAre(large("a"), large("b"), large("c"), large("b")));
}

INSTANTIATE_TEST_SUITE_P(OutboxDrainer, OutboxDrainerFailure,
                         testing::Values(PublishOutcome::kReturned, PublishOutcome::kNacked,
                                         PublishOutcome::kUnavailable, PublishOutcome::kUnknown));

TEST_F(OutboxDrainerTest, SurvivesAConnectionThatComesAndGoes) {
  publisher_.set_script(ScriptedPublisher::hold());
  append({large("a"), large("b"), large("c"), large("d"), large("e"), large("f")});
  drainer_.start();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(publisher_.wait_for_held(1));
    publisher_.set_available(false);
    publisher_.set_available(true);
  }
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  publisher_.settle_held(PublishOutcome::kUnknown);
  ASSERT_TRUE(outbox_.wait_for_entries(0));
}

TEST_F(OutboxDrainerTest, ABrokerThatReturnsEverythingIsNotFlooded) {
  OutboxDrainer slow(
      {.max_in_flight = 1,
       .stop_wait = Millis(50),
       .least_backoff = Millis(100),
       .most_backoff = Millis(100)},
      publisher_, outbox_, forwarded_, [](auto, auto) {}, metrics_);
  publisher_.on_availability([&](bool available) { slow.availability_changed(available); });
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kReturned));
  append({"a"});
  const auto started = SteadyClock::now();
  slow.start();
  ASSERT_TRUE(publisher_.wait_for_published(11));
  // Ten pauses of 50 ms on average; that they all come out this short has no measurable chance.
  EXPECT_GT(SteadyClock::now() - started, Millis(100));
  slow.stop();
}

TEST_F(OutboxDrainerTest, AnOutboxThatCannotBeReadIsTriedAgain) {
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  outbox_.make_unreadable(true);
  append({"a"});
  drainer_.start();
  const auto give_up = SteadyClock::now() + std::chrono::seconds(10);
  while (outbox_.reads() < 3 && SteadyClock::now() < give_up) std::this_thread::yield();
  EXPECT_GE(outbox_.reads(), 3u);
  outbox_.make_unreadable(false);
  ASSERT_TRUE(outbox_.wait_for_entries(0));
}

TEST_F(OutboxDrainerTest, TellsOfWhatItForwardedBeforeItLeavesTheOutbox) {
  append({large("a"), large("b")}, 5000);
  drainer_.start();
  ASSERT_TRUE(publisher_.wait_for_held(2));
  EXPECT_EQ(forwarded_.oldest(), std::nullopt);
  publisher_.settle_held(PublishOutcome::kConfirmed);
  ASSERT_TRUE(outbox_.wait_for_entries(0));
  EXPECT_EQ(forwarded_.oldest(), from_unix_millis(5000));
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(confirmed_, 2u);
}

TEST_F(OutboxDrainerTest, StopDoesNotWaitForABrokerThatHangs) {
  append({large("a"), large("b")});
  drainer_.start();
  ASSERT_TRUE(publisher_.wait_for_held(2));
  const auto started = SteadyClock::now();
  drainer_.stop();
  drainer_.stop();
  EXPECT_LT(SteadyClock::now() - started, std::chrono::seconds(5));
  publisher_.settle_held(PublishOutcome::kConfirmed);
  EXPECT_THAT(outbox_.bodies(), SizeIs(2));
}

TEST_F(OutboxDrainerTest, StopRemovesWhatIsConfirmedInTime) {
  OutboxDrainer patient(
      {.max_in_flight = 4, .stop_wait = std::chrono::seconds(10)}, publisher_, outbox_, forwarded_,
      [](auto, auto) {}, metrics_);
  publisher_.on_availability([&](bool available) { patient.availability_changed(available); });
  append({"a"});
  patient.start();
  ASSERT_TRUE(publisher_.wait_for_held(1));
  publisher_.settle_held(PublishOutcome::kConfirmed);
  patient.stop();
  EXPECT_THAT(outbox_.bodies(), IsEmpty());
}

TEST_F(OutboxDrainerTest, StoppingWhatNeverStartedIsFine) {
  drainer_.stop();
  drainer_.stop();
}

TEST_F(OutboxDrainerTest, StartsAgainAfterAStop) {
  publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
  drainer_.start();
  drainer_.start();
  drainer_.stop();
  append({"a"});
  drainer_.start();
  EXPECT_TRUE(outbox_.wait_for_entries(0));
}

}  // namespace
}  // namespace postoffice
