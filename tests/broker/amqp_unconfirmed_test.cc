#include <gtest/gtest.h>

#include "broker/unconfirmed.h"

namespace postoffice {
namespace {

class UnconfirmedTest : public ::testing::Test {
 protected:
  void add(int count) {
    for (int i = 0; i < count; ++i) {
      const size_t index = outcomes_.size();
      outcomes_.emplace_back();
      unconfirmed_.add(
          [this, index](PublishOutcome outcome) { outcomes_[index].push_back(outcome); },
          SteadyClock::time_point(Millis(index)));
    }
  }
  void ack(uint64_t tag, bool multiple) {
    unconfirmed_.settle(tag, multiple, PublishOutcome::kConfirmed, run());
  }
  void nack(uint64_t tag, bool multiple) {
    unconfirmed_.settle(tag, multiple, PublishOutcome::kNacked, run());
  }
  static Unconfirmed::Settle run() {
    return [](Unconfirmed::Settlement settlement) { settlement.settled(settlement.outcome); };
  }
  // The outcome of each message: c, r, n, u, or - for none; ! for settled more than once.
  std::string text() const {
    std::string text;
    for (const auto& outcomes : outcomes_)
      text += outcomes.empty() ? '-' : outcomes.size() > 1 ? '!' : letter(outcomes[0]);
    return text;
  }
  static char letter(PublishOutcome outcome) {
    switch (outcome) {
      case PublishOutcome::kConfirmed:
        return 'c';
      case PublishOutcome::kReturned:
        return 'r';
      case PublishOutcome::kNacked:
        return 'n';
      case PublishOutcome::kUnavailable:
        return 'a';
      case PublishOutcome::kUnknown:
        return 'u';
    }
    return '?';
  }

  Unconfirmed unconfirmed_;
  std::vector<std::vector<PublishOutcome>> outcomes_;
};

TEST_F(UnconfirmedTest, SingleAcksSettleOneEachInAnyOrder) {
  add(4);
  ack(3, false);
  EXPECT_EQ(text(), "--c-");
  ack(1, false);
  ack(1, false);
  ack(99, false);
  ack(0, false);
  EXPECT_EQ(text(), "c-c-");
  EXPECT_EQ(unconfirmed_.size(), 2U);
  EXPECT_EQ(unconfirmed_.oldest_sent_at(), SteadyClock::time_point(Millis(1)));
}

TEST_F(UnconfirmedTest, MultipleSettlesAllUpToTheTag) {
  add(6);
  nack(2, false);
  ack(4, true);
  EXPECT_EQ(text(), "cncc--");
  nack(5, true);
  EXPECT_EQ(text(), "cnccn-");
  ack(0, true);
  EXPECT_EQ(text(), "cnccnc");
  EXPECT_EQ(unconfirmed_.size(), 0U);
  EXPECT_EQ(unconfirmed_.oldest_sent_at(), std::nullopt);
  add(1);
  ack(7, false);
  EXPECT_EQ(text(), "cnccncc");
}

TEST_F(UnconfirmedTest, AnAckAfterAReturnIsAReturn) {
  add(3);
  unconfirmed_.mark_returned(2);
  unconfirmed_.mark_returned(17);
  ack(3, true);
  EXPECT_EQ(text(), "crc");
}

TEST_F(UnconfirmedTest, WhatIsLeftIsLostAndTagsStartAgain) {
  add(3);
  ack(2, false);
  unconfirmed_.mark_returned(1);
  unconfirmed_.lose_all(run());
  EXPECT_EQ(text(), "ucu");
  add(1);
  ack(1, false);
  EXPECT_EQ(text(), "ucuc");
}

}  // namespace
}  // namespace postoffice
