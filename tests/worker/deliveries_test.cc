#include "worker/deliveries.h"

#include <gtest/gtest.h>

#include "broker/callback_message.h"
#include "tests/worker/fakes.h"
#include "worker/backlog.h"
#include "worker/receive_time.h"
#include "worker/returned_times.h"

namespace postoffice::testing {
namespace {

using std::chrono::seconds;

constexpr UnixTime at(int64_t millis) { return UnixTime(Millis(millis)); }

// Notes what the watermark would be each time that a delivery goes back to the queue.
class WatermarkSettler final : public Settler {
 public:
  explicit WatermarkSettler(ReturnedTimes& returned) : returned_(returned) {}

  void ack(DeliveryTag /*tag*/) override {}
  void requeue(DeliveryTag /*tag*/) override { seen_.push_back(returned_.oldest(true)); }
  void set_reading(bool /*reading*/) override {}

  const std::vector<std::optional<UnixTime>>& seen() const { return seen_; }

 private:
  ReturnedTimes& returned_;
  std::vector<std::optional<UnixTime>> seen_;
};

class DeliveriesTest : public ::testing::Test {
 protected:
  DeliveriesTest() { deliveries_.settle_with(settler_); }
  DeliveryHandle hold(uint64_t tag, size_t parts, std::optional<UnixTime> oldest = {},
                      uint64_t connection = 1) {
    return deliveries_.hold({connection, tag}, now_, oldest, parts).value();
  }
  void done(std::vector<DeliveryHandle> handles) { deliveries_.done(handles); }

  const SteadyClock::time_point now_ = SteadyClock::now();
  Metrics metrics_;
  FakeSettler settler_;
  ReturnedTimes returned_{{}};
  Deliveries deliveries_{returned_, metrics_};
};

TEST_F(DeliveriesTest, IsAcknowledgedWithItsLastPart) {
  const auto one = hold(1, 3);
  const auto two = hold(2, 1);
  done({one, one});
  EXPECT_EQ(settler_.acks(), 0u);
  done({two, one});
  EXPECT_TRUE(settler_.acked(1));
  EXPECT_TRUE(settler_.acked(2));
  EXPECT_EQ(deliveries_.count(), 0u);
  EXPECT_EQ(deliveries_.parts(), 0u);
}

TEST_F(DeliveriesTest, WithoutPartsIsAcknowledgedAtOnce) {
  EXPECT_EQ(deliveries_.hold({1, 9}, now_, {}, 0), std::nullopt);
  EXPECT_TRUE(settler_.acked(9));
}

TEST_F(DeliveriesTest, AHandleOfOneThatIsGoneDoesNothingToTheNextInItsSlot) {
  const auto old = hold(1, 1);
  done({old});
  const auto current = hold(2, 1);
  EXPECT_EQ(current.slot, old.slot);
  done({old, old});
  EXPECT_FALSE(settler_.acked(2));
  EXPECT_FALSE(deliveries_.holds(old));
  EXPECT_TRUE(deliveries_.holds(current));
}

TEST_F(DeliveriesTest, RequeuesOnceAndForgetsTheRestOfItsParts) {
  const auto one = hold(1, 5, at(30));
  const auto two = hold(2, 5, at(20));
  deliveries_.requeue(std::vector{one, two, one});
  EXPECT_EQ(returned_.oldest(true), at(20));
  done({one, one, one, one, one});
  EXPECT_TRUE(settler_.requeued(1));
  EXPECT_TRUE(settler_.requeued(2));
  EXPECT_EQ(settler_.acks(), 0u);
  EXPECT_FALSE(settler_.settled_twice());
}

TEST_F(DeliveriesTest, WhatIsHeldTooLongGoesBack) {
  hold(1, 1, at(5));
  ASSERT_TRUE(deliveries_.hold({1, 2}, now_ + seconds(1), at(4), 1));
  EXPECT_TRUE(deliveries_.requeue_older_than(now_ + Millis(1)));
  EXPECT_EQ(returned_.oldest(true), at(5));
  EXPECT_TRUE(settler_.requeued(1));
  EXPECT_FALSE(settler_.requeued(2));
  EXPECT_FALSE(deliveries_.requeue_older_than(now_ + Millis(1)));
}

// Otherwise a report that is made in between says that nobody holds it.
TEST_F(DeliveriesTest, WhatGoesBackCountsAsReturnedBeforeItIsGone) {
  WatermarkSettler settler(returned_);
  deliveries_.settle_with(settler);
  const auto one = hold(1, 1, at(30));
  deliveries_.requeue(std::vector{one});
  hold(2, 1, at(20));
  deliveries_.requeue_older_than(now_ + Millis(1));
  EXPECT_EQ(settler.seen(), (std::vector<std::optional<UnixTime>>{at(30), at(20)}));
}

TEST_F(DeliveriesTest, ALostConnectionIsForgottenAndNothingOfItIsSettled) {
  const auto lost = hold(1, 1, at(7), 1);
  const auto kept = hold(1, 1, at(8), 2);
  deliveries_.forget_connections(1);
  EXPECT_EQ(deliveries_.oldest(), at(8));
  done({lost, kept});
  EXPECT_FALSE(settler_.acked(1, 1));
  EXPECT_TRUE(settler_.acked(1, 2));
  // One that was on its way meanwhile.
  EXPECT_EQ(deliveries_.hold({1, 2}, now_, {}, 1), std::nullopt);
  EXPECT_EQ(deliveries_.hold({1, 3}, now_, {}, 0), std::nullopt);
  EXPECT_FALSE(settler_.acked(3, 1));
}

TEST_F(DeliveriesTest, KnowsTheOldestCallbackOfAllHeld) {
  EXPECT_EQ(deliveries_.oldest(), std::nullopt);
  const auto one = hold(1, 1, at(10));
  hold(2, 1, at(20));
  hold(3, 1);  // A retry.
  EXPECT_EQ(deliveries_.oldest(), at(10));
  done({one});
  EXPECT_EQ(deliveries_.oldest(), at(20));
}

class BacklogTest : public ::testing::Test {
 protected:
  BacklogTest() { backlog_.settle_with(settler_); }
  void park(uint64_t tag, const std::string& body, uint64_t connection = 1) {
    backlog_.park({{connection, tag}, body});
  }
  static std::string line(int64_t received_at) {
    return "{\"received_at\":" + std::to_string(received_at) + ",\"object_ids\":[1]}\n";
  }

  FakeSettler settler_;
  ReturnedTimes returned_{{}};
  Backlog backlog_{10'000, returned_};
};

TEST_F(BacklogTest, AFloodStopsReadingUntilHalfOfItIsGone) {
  for (uint64_t tag = 1; tag <= 9; ++tag) park(tag, std::string(1000, ' '));
  EXPECT_TRUE(settler_.reading());
  park(10, std::string(1000, ' '));
  EXPECT_FALSE(settler_.reading());
  for (int i = 0; i < 5; ++i) backlog_.take();
  EXPECT_FALSE(settler_.reading());
  backlog_.take();
  EXPECT_TRUE(settler_.reading());
}

TEST_F(BacklogTest, ReadingGoesOnAfterALoss) {
  for (uint64_t tag = 1; tag <= 20; ++tag) park(tag, std::string(1000, ' '));
  EXPECT_FALSE(settler_.reading());
  backlog_.forget_connections(1);
  EXPECT_TRUE(settler_.reading());
  EXPECT_FALSE(backlog_.take());
}

TEST_F(BacklogTest, KnowsTheOldestCallbackAlsoOfTheOneBeingTakenOver) {
  park(1, line(30));
  park(2, line(20) + line(10));
  EXPECT_EQ(backlog_.oldest(), at(10));
  backlog_.take();
  backlog_.taken_over();
  backlog_.take();
  EXPECT_EQ(backlog_.oldest(), at(10));
  backlog_.taken_over();
  EXPECT_EQ(backlog_.oldest(), std::nullopt);
}

TEST_F(BacklogTest, GivesBackWhatWaitsTooLongAndEverythingWhenClosed) {
  const auto now = SteadyClock::now();
  backlog_.park({{1, 1}, line(5)}, now);
  backlog_.park({{1, 2}, line(6)}, now + seconds(1));
  backlog_.requeue_older_than(now + Millis(1));
  EXPECT_EQ(backlog_.oldest(), at(6));
  EXPECT_TRUE(settler_.requeued(1));
  EXPECT_FALSE(settler_.requeued(2));
  backlog_.close();
  EXPECT_TRUE(settler_.requeued(2));
  park(3, line(7));
  EXPECT_TRUE(settler_.requeued(3));
}

TEST_F(BacklogTest, WhatGoesBackCountsAsReturnedBeforeItIsGone) {
  WatermarkSettler settler(returned_);
  backlog_.settle_with(settler);
  const auto now = SteadyClock::now();
  backlog_.park({{1, 1}, line(30)}, now);
  backlog_.park({{1, 2}, line(20)}, now + seconds(1));
  backlog_.requeue_older_than(now + Millis(1));
  backlog_.close();
  park(3, line(10));
  EXPECT_EQ(settler.seen(), (std::vector<std::optional<UnixTime>>{at(30), at(20), at(10)}));
}

TEST(ReceiveTime, IsTheEarliestOfTheCallbacksAndNotOfRetries) {
  const std::vector<int64_t> ids = {1, 2};
  const std::string body = encode_callback_line(at(300), ids) + encode_callback_line(at(200), ids) +
                           encode_retry_line(at(100), 1, 1, at(500));
  EXPECT_EQ(oldest_callback_in(body), at(200));
  EXPECT_EQ(oldest_callback_in(encode_retry_line(at(100), 1, 1, at(500))), std::nullopt);
  EXPECT_EQ(oldest_callback_in("garbage\n\n{\"received_at\":x\n" + encode_callback_line(at(9), {})),
            at(9));
  EXPECT_EQ(oldest_callback_in(""), std::nullopt);
}

class ReturnedTimesTest : public ::testing::Test {
 protected:
  const SteadyClock::time_point start_ = SteadyClock::now();
  ReturnedTimes returned_{{seconds(10), seconds(600)}};
};

TEST_F(ReturnedTimesTest, CountsUntilTheBrokerHasHadTimeToDeliverAgain) {
  returned_.returned(at(50), start_);
  returned_.returned(at(60), start_);
  EXPECT_EQ(returned_.oldest(false, start_ + seconds(30)), at(50));
  EXPECT_EQ(returned_.oldest(true, start_ + seconds(39)), at(50));
  EXPECT_EQ(returned_.oldest(true, start_ + seconds(40)), std::nullopt);
}

TEST_F(ReturnedTimesTest, CountsNoLongerThanTenMinutes) {
  returned_.returned(at(50), start_);
  EXPECT_EQ(returned_.oldest(false, start_ + seconds(599)), at(50));
  EXPECT_EQ(returned_.oldest(false, start_ + seconds(600)), std::nullopt);
}

TEST_F(ReturnedTimesTest, IsTheLastWordOfAProcessThatStops) {
  returned_.keep_all();
  returned_.returned(at(50), start_);
  EXPECT_EQ(returned_.oldest(true, start_ + seconds(5000)), at(50));
}

}  // namespace
}  // namespace postoffice::testing
