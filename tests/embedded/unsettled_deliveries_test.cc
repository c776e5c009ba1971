#include "broker/embedded/unsettled_deliveries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/embedded/amqp_error.h"

namespace postoffice::embedded {
namespace {

class UnsettledDeliveriesTest : public testing::Test {
 protected:
  UnsettledDeliveriesTest() : message_(new Message(Content{}, false, memory_)) {}

  void deliver(uint64_t count) {
    for (; count > 0; --count) unsettled_.add({0, {message_, unsettled_.next_tag()}, {}, {}});
  }
  std::vector<uint64_t> tags(const std::vector<Delivered>& delivered) {
    std::vector<uint64_t> tags;
    for (const auto& each : delivered) tags.push_back(each.tag);
    return tags;
  }

  uint64_t memory_ = 0;
  MessagePtr message_;
  UnsettledDeliveries unsettled_;
};

// Behind a delivery that nobody acknowledged, everything settled later left its place.
TEST_F(UnsettledDeliveriesTest, OneThatStaysCostsNoPlacesOfOthers) {
  deliver(1);
  for (uint64_t tag = 2; tag <= 10'000; ++tag) {
    deliver(1);
    EXPECT_THAT(tags(unsettled_.take(tag, false)), testing::ElementsAre(tag));
    ASSERT_LT(unsettled_.places(), 200U);
  }
  EXPECT_EQ(unsettled_.size(), 1U);
  EXPECT_THROW(unsettled_.take(5'000, false), ChannelError);
  EXPECT_THAT(tags(unsettled_.take(1, true)), testing::ElementsAre(1U));
}

TEST_F(UnsettledDeliveriesTest, RestoredOnesStandInOrder) {
  deliver(1'000);
  std::vector<Delivered> taken;
  for (uint64_t tag = 1'000; tag > 1; --tag) {
    taken.push_back(std::move(unsettled_.take(tag, false).front()));
  }
  unsettled_.restore(std::move(taken));
  EXPECT_EQ(unsettled_.size(), 1'000U);
  const auto all = tags(unsettled_.take(0, true));
  EXPECT_EQ(all.size(), 1'000U);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
}

TEST_F(UnsettledDeliveriesTest, RestoredOnesStandAmongThoseThatStayed) {
  deliver(6);
  auto taken = unsettled_.take(2, true);
  taken.push_back(std::move(unsettled_.take(5, false).front()));
  unsettled_.take(4, false);
  unsettled_.restore(std::move(taken));
  EXPECT_EQ(unsettled_.size(), 5U);
  EXPECT_THROW(unsettled_.take(4, false), ChannelError);
  EXPECT_THAT(tags(unsettled_.take(0, true)), testing::ElementsAre(1U, 2U, 3U, 5U, 6U));
}

}  // namespace
}  // namespace postoffice::embedded
