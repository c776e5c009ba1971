#include "broker/forwarded_times.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class ForwardedTimesTest : public testing::Test {
 protected:
  void add(int64_t received_at) { times_.add(from_unix_millis(received_at), now_); }
  std::optional<UnixTime> oldest() { return times_.oldest(now_); }

  SteadyClock::time_point now_ = SteadyClock::now();
  ForwardedTimes times_;
};

TEST_F(ForwardedTimesTest, ATimeCountsUntilTheQueueWasSeenEmptyTwice) {
  add(2000);
  add(1000);
  add(3000);
  EXPECT_EQ(oldest(), from_unix_millis(1000));
  times_.settled();
  EXPECT_EQ(oldest(), from_unix_millis(1000));
  add(2500);
  times_.settled();
  EXPECT_EQ(oldest(), from_unix_millis(2500));
  times_.settled();
  EXPECT_EQ(oldest(), std::nullopt);
}

TEST_F(ForwardedTimesTest, WhereTheQueueIsNeverEmptyATimeCountsForTenMinutes) {
  add(1000);
  now_ += seconds(5);
  add(1500);
  now_ += minutes(5);
  add(2000);
  now_ += minutes(5) - seconds(1);
  EXPECT_EQ(oldest(), from_unix_millis(1000));
  now_ += seconds(1);
  EXPECT_EQ(oldest(), from_unix_millis(2000));
  now_ += minutes(5);
  EXPECT_EQ(oldest(), std::nullopt);
}

TEST_F(ForwardedTimesTest, WhatIsAddedAllTheTimeKeepsNoOldTimeAlive) {
  for (int i = 0; i < 130; ++i) {
    add(1000 + i);
    now_ += seconds(9);
  }
  EXPECT_GT(oldest(), from_unix_millis(1000 + 50));
}

}  // namespace
}  // namespace postoffice
