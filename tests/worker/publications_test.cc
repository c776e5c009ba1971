#include "worker/publications.h"

#include <gtest/gtest.h>

#include "broker/callback_message.h"
#include "broker/topology.h"
#include "tests/worker/fakes.h"

namespace postoffice::testing {
namespace {

using std::chrono::seconds;

constexpr UnixTime kReceived{Millis(1000)};
const std::string kRetry = "postoffice.callbacks.retry";
const std::string kDead{topology::kCallbacksDead};

class PublicationsTest : public ::testing::Test {
 protected:
  PublicationsTest() {
    deliveries_.settle_with(settler_);
    publications_.start();
  }
  DeliveryHandle hold(uint64_t tag, size_t parts = 1) {
    return deliveries_.hold({1, tag}, SteadyClock::now(), {}, parts).value();
  }
  bool acked(uint64_t tag) {
    return eventually([&] { return settler_.acked(tag); });
  }

  Metrics metrics_;
  FakeSettler settler_;
  FakePublisher publisher_;
  ReturnedTimes returned_{{}};
  Deliveries deliveries_{returned_, metrics_};
  Publications publications_{{.window = 3, .backoff_least = Millis(1), .backoff_most = Millis(5)},
                             publisher_,
                             deliveries_,
                             metrics_};
};

TEST_F(PublicationsTest, ARetryCarriesItsAttemptsAndItsTimeToTheQueueThatFits) {
  const auto not_before = unix_now() + seconds(9);
  publications_.retry({7, kReceived, 3, not_before}, {hold(1)});
  ASSERT_TRUE(acked(1));
  const auto messages = publisher_.confirmed(kRetry);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].routing_key, "postoffice.callbacks.retry.8s");
  const auto line = CallbackDecoder().decode(messages[0].body).lines.at(0);
  EXPECT_EQ(line.object_ids, std::vector<int64_t>{7});
  EXPECT_EQ(line.received_at, kReceived);
  EXPECT_EQ(line.attempt, 3);
  EXPECT_EQ(line.not_before, not_before);
  EXPECT_EQ(metric(metrics_, "postoffice_retries_total"), 1);
}

TEST_F(PublicationsTest, ADeadLetterCarriesItsReason) {
  publications_.dead_letter("the line", std::string(5000, 'x'), {hold(1)});
  ASSERT_TRUE(acked(1));
  const auto messages = publisher_.confirmed(kDead);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].body, "the line");
  ASSERT_EQ(messages[0].headers.size(), 1u);
  EXPECT_EQ(messages[0].headers[0].first, "reason");
  EXPECT_EQ(messages[0].headers[0].second, std::string(1024, 'x'));
  EXPECT_EQ(metric(metrics_, "postoffice_dead_letters_total"), 1);
}

TEST_F(PublicationsTest, NothingIsDoneBeforeItIsConfirmed) {
  publisher_.hold(true);
  publications_.callback("a\n", hold(1));
  ASSERT_TRUE(eventually([&] { return publisher_.published() == 1; }));
  EXPECT_EQ(settler_.acks(), 0u);
  publisher_.hold(false);
  EXPECT_TRUE(acked(1));
}

TEST_F(PublicationsTest, WhatIsNotConfirmedIsPublishedUntilItIs) {
  const std::vector<PublishOutcome> outcomes = {
      PublishOutcome::kReturned, PublishOutcome::kNacked, PublishOutcome::kUnknown,
      PublishOutcome::kUnavailable, PublishOutcome::kConfirmed};
  size_t tries = 0;
  publisher_.set_judge([&](const Message&) { return outcomes.at(tries++); });
  publications_.callback("a\n", hold(1));
  ASSERT_TRUE(acked(1));
  EXPECT_EQ(publisher_.published(), outcomes.size());
}

TEST_F(PublicationsTest, AnUnavailableBrokerIsWaitedFor) {
  publisher_.set_available(false);
  for (uint64_t tag = 1; tag <= 10; ++tag) publications_.callback("a\n", hold(tag));
  EXPECT_EQ(settler_.acks(), 0u);
  publisher_.set_available(true);
  EXPECT_TRUE(eventually([&] { return settler_.acks() == 10; }));
}

TEST_F(PublicationsTest, NoMoreThanTheWindowIsAtThePublisher) {
  publisher_.hold(true);
  for (uint64_t tag = 1; tag <= 10; ++tag) publications_.callback("a\n", hold(tag));
  ASSERT_TRUE(eventually([&] { return publisher_.published() == 3; }));
  publisher_.hold(false);
  EXPECT_TRUE(eventually([&] { return settler_.acks() == 10; }));
  EXPECT_EQ(publisher_.published(), 10u);
}

// However many messages are under way when the connection breaks, that is one failure.
TEST_F(PublicationsTest, WhatIsLostTogetherIsOnePause) {
  constexpr size_t kLost = 20;
  Publications publications(
      {.window = kLost, .backoff_least = Millis(100), .backoff_most = std::chrono::minutes(10)},
      publisher_, deliveries_, metrics_);
  publications.start();
  size_t judged = 0;
  publisher_.set_judge([&](const Message&) {
    return ++judged > kLost ? PublishOutcome::kConfirmed : PublishOutcome::kUnknown;
  });
  publisher_.hold(true);
  for (uint64_t tag = 1; tag <= kLost; ++tag) publications.callback("a\n", hold(tag));
  ASSERT_TRUE(eventually([&] { return publisher_.published() == kLost; }));
  publisher_.hold(false);
  EXPECT_TRUE(eventually([&] { return settler_.acks() == kLost; }));
  publications.stop();
}

TEST_F(PublicationsTest, NobodyPublishesForDeliveriesThatWereLost) {
  std::atomic<int> judged = 0;
  publisher_.set_judge([&](const Message&) {
    if (++judged == 3) deliveries_.forget_connections(1);
    return PublishOutcome::kNacked;
  });
  publications_.callback("a\n", hold(1));
  ASSERT_TRUE(eventually([&] { return judged == 3; }));
  deliveries_.settle_with(settler_);
  ASSERT_TRUE(deliveries_.hold({2, 1}, SteadyClock::now(), {}, 1).has_value());
  publisher_.set_judge({});
  publications_.callback("b\n", DeliveryHandle{0, 1});
  EXPECT_TRUE(eventually([&] { return settler_.acked(1, 2); }));
  EXPECT_EQ(publisher_.published(), 4u);
}

TEST_F(PublicationsTest, AConfirmThatComesAfterTheStopHasNoEffect) {
  publisher_.hold(true);
  publications_.callback("a\n", hold(1));
  ASSERT_TRUE(eventually([&] { return publisher_.published() == 1; }));
  publications_.stop();
  publications_.stop();
  publisher_.hold(false);
  ASSERT_TRUE(eventually([&] { return publisher_.confirmed("").size() == 1; }));
  EXPECT_EQ(settler_.acks(), 0u);
}

}  // namespace
}  // namespace postoffice::testing
