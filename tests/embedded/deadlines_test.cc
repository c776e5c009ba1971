#include "broker/embedded/deadlines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace postoffice::embedded {
namespace {

using std::chrono::hours;

class NoHost : public QueueHost {
 public:
  void wake(Queue& /*queue*/) override {}
  void call_at(Queue& /*queue*/, SteadyClock::time_point /*when*/) override {}
  void settled(Queue& /*queue*/, const Entry& /*entry*/) override {}
  void returned(Queue& /*queue*/, const Entry& /*entry*/, uint32_t /*count*/) override {}
  bool is_behind() const override { return false; }
  bool dead_letter(Queue& /*queue*/, const Entry& /*entry*/, DeathReason /*reason*/) override {
    return true;
  }
  void unused(Queue& /*queue*/) override {}
};

class DeadlinesTest : public testing::Test {
 protected:
  std::shared_ptr<Queue> queue() {
    return std::make_shared<Queue>(host_, QueueRecord{1, "/", "q", false, false, {}}, false);
  }

  NoHost host_;
  Deadlines deadlines_;
  const SteadyClock::time_point now_ = SteadyClock::now();
};

TEST_F(DeadlinesTest, TheEarliestTimeCounts) {
  const auto one = queue();
  const auto other = queue();
  deadlines_.add(*one, now_ + hours(3));
  deadlines_.add(*one, now_ + hours(1));
  deadlines_.add(*one, now_ + hours(2));
  deadlines_.add(*other, now_ + hours(2));
  EXPECT_EQ(deadlines_.next(), now_ + hours(1));
  EXPECT_THAT(deadlines_.take_due(now_), testing::IsEmpty());
  EXPECT_THAT(deadlines_.take_due(now_ + hours(1)), testing::ElementsAre(one));
  EXPECT_THAT(deadlines_.take_due(now_ + hours(9)), testing::ElementsAre(other));
}

// A deleted queue kept its memory until the time it had asked for, which may be weeks away.
TEST_F(DeadlinesTest, QueuesThatAreGoneAreForgotten) {
  const auto stays = queue();
  deadlines_.add(*stays, now_ + hours(2));
  for (int i = 0; i < 10'000; ++i) {
    deadlines_.add(*queue(), now_ + hours(1));
    ASSERT_LT(deadlines_.size(), 200U);
  }
  EXPECT_THAT(deadlines_.take_due(now_ + hours(2)), testing::ElementsAre(stays));
}

}  // namespace
}  // namespace postoffice::embedded
