#include "tester/callback_ids.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

namespace postoffice::tester {
namespace {

using testing::ElementsAre;

TEST(CallbackIds, RandomOnesCoverTheIdSpaceAndTheCounts) {
  CallbackIds ids(CallbackIds::Mode::kRandom, 100, {0, 199});
  std::set<int64_t> seen;
  std::set<size_t> counts;
  for (int i = 0; i < 5000; ++i) {
    const auto next = ids.next();
    counts.insert(next.size());
    seen.insert(next.begin(), next.end());
  }
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_EQ(*seen.begin(), 0);
  EXPECT_EQ(*seen.rbegin(), 99);
  EXPECT_EQ(counts.size(), 200u);
  EXPECT_EQ(*counts.rbegin(), 199u);
}

TEST(CallbackIds, SequentialOnesBeginAgainAfterTheLast) {
  CallbackIds ids(CallbackIds::Mode::kSequential, 5, {3, 3});
  EXPECT_THAT(ids.next(), ElementsAre(0, 1, 2));
  EXPECT_THAT(ids.next(), ElementsAre(3, 4, 0));
  EXPECT_THAT(ids.next(), ElementsAre(1, 2, 3));
}

TEST(CallbackIds, TakesTheWholeInt64) {
  CallbackIds ids(CallbackIds::Mode::kRandom, INT64_MAX, {1000, 1000});
  const auto next = ids.next();
  EXPECT_GE(*std::ranges::min_element(next), 0);
  EXPECT_GT(*std::ranges::max_element(next), INT64_MAX / 2);
}

}  // namespace
}  // namespace postoffice::tester
