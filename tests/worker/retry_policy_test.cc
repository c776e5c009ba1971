#include "worker/retry_policy.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace postoffice {
namespace {

TEST(RetryPolicy, TriesFiveTimesInAll) {
  const RetryPolicy policy{{}};
  EXPECT_FALSE(policy.is_last(4));
  EXPECT_TRUE(policy.is_last(5));
}

TEST(RetryPolicy, DelaysGrowAndAreSpreadBetweenHalfASecondAndTheirCeiling) {
  RetryPolicy policy{{}};
  const Millis ceilings[] = {Millis(2000), Millis(8000), Millis(30'000), Millis(30'000)};
  for (int attempt = 1; attempt <= 4; ++attempt) {
    Millis least = Millis::max();
    Millis most = Millis::min();
    for (int i = 0; i < 2000; ++i) {
      const auto delay = policy.delay(attempt, std::nullopt);
      least = std::min(least, delay);
      most = std::max(most, delay);
    }
    const Millis ceiling = ceilings[attempt - 1];
    const Millis range = ceiling - Millis(500);
    EXPECT_GE(least, Millis(500));
    EXPECT_LT(least, Millis(500) + range / 10);
    EXPECT_LE(most, ceiling);
    EXPECT_GT(most, ceiling - range / 10);
  }
}

TEST(RetryPolicy, RetryAfterIsTheFloor) {
  RetryPolicy policy{{}};
  EXPECT_EQ(policy.delay(1, Millis(60'000)), Millis(60'000));
  EXPECT_GE(policy.delay(4, Millis(0)), Millis(500));
}

TEST(RetryPolicy, ChoosesTheLongestQueueThatIsNotTooLong) {
  EXPECT_EQ(RetryPolicy::queue_for(Millis(-5)).delay, Millis(500));
  EXPECT_EQ(RetryPolicy::queue_for(Millis(499)).delay, Millis(500));
  EXPECT_EQ(RetryPolicy::queue_for(Millis(1999)).delay, Millis(500));
  EXPECT_EQ(RetryPolicy::queue_for(Millis(2000)).delay, Millis(2000));
  EXPECT_EQ(RetryPolicy::queue_for(Millis(29'999)).delay, Millis(8000));
  EXPECT_EQ(RetryPolicy::queue_for(std::chrono::hours(3)).delay, Millis(30'000));
}

}  // namespace
}  // namespace postoffice
