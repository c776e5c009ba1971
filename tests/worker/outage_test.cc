#include "worker/outage.h"

#include <gtest/gtest.h>

#include <vector>

namespace postoffice {
namespace {

using Kind = FetchResult::Kind;
using Verdict = Outage::Verdict;
using std::chrono::seconds;

class OutageTest : public ::testing::Test {
 protected:
  Verdict note(Kind kind, int64_t id, Millis at, bool is_probe = false) {
    FetchResult result;
    result.kind = kind;
    result.reason = "reason";
    return outage_.note(result, id, is_probe, start_ + at);
  }
  // Down since the tenth second.
  void go_down() {
    note(Kind::kUnreachable, 1, seconds(0));
    for (int64_t id = 2; id <= 5; ++id) note(Kind::kUnreachable, id, seconds(10));
    ASSERT_TRUE(outage_.down());
  }

  const SteadyClock::time_point start_ = SteadyClock::now();
  Metrics metrics_;
  std::vector<bool> changes_;
  Outage outage_{{}, "service", [this](bool down) { changes_.push_back(down); }, metrics_};
};

TEST_F(OutageTest, NeedsTenSecondsWithoutAGoodAnswerAndFiveDifferentIds) {
  for (int64_t id = 1; id <= 100; ++id) note(Kind::kUnreachable, id, seconds(0));
  for (int64_t id = 1; id <= 100; ++id) note(Kind::kUnreachable, id, Millis(9999));
  EXPECT_FALSE(outage_.down());
  EXPECT_EQ(note(Kind::kUnreachable, 1, seconds(10)), Verdict::kPaused);
  EXPECT_TRUE(outage_.down());
  EXPECT_EQ(changes_, std::vector<bool>{true});
}

// Nobody asked, so nobody knows what the service would have answered.
TEST_F(OutageTest, TimeWithoutTrafficSaysNothing) {
  for (const int idle_until : {3600, 7200}) {
    for (int64_t id = 1; id <= 100; ++id) {
      EXPECT_EQ(note(Kind::kUnreachable, id, seconds(idle_until) + Millis(id / 2)),
                Verdict::kCounts);
    }
    EXPECT_FALSE(outage_.down());
    note(Kind::kAnswered, 200, seconds(idle_until + 1));
  }
}

TEST_F(OutageTest, FewIdsAreNoOutageHoweverLongAndOftenTheyFail) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(note(Kind::kUnreachable, i % 4, seconds(i)), Verdict::kCounts);
  }
  EXPECT_FALSE(outage_.down());
}

TEST_F(OutageTest, AnyGoodAnswerStartsAnew) {
  int at = 0;
  for (const Kind good : {Kind::kAnswered, Kind::kGone, Kind::kRejected}) {
    for (int64_t id = 1; id <= 5; ++id) note(Kind::kUnreachable, id, seconds(at));
    note(good, 6, seconds(at + 9));
    for (int64_t id = 1; id <= 5; ++id) note(Kind::kUnreachable, id, seconds(at + 10));
    EXPECT_FALSE(outage_.down());
    note(good, 6, seconds(at + 11));
    at += 100;
  }
}

// Neither shows that the service works nor that it is down.
TEST_F(OutageTest, TooManyRequestsAndUnreadableAnswersSayNothing) {
  for (int i = 0; i < 100; ++i) note(Kind::kRetryable, i, seconds(i));
  EXPECT_FALSE(outage_.down());
  for (int64_t id = 1; id <= 5; ++id) note(Kind::kUnreachable, id, seconds(100));
  EXPECT_FALSE(outage_.down());
  note(Kind::kRetryable, 7, seconds(105));
  note(Kind::kUnreachable, 1, seconds(110));
  EXPECT_TRUE(outage_.down());
  note(Kind::kRetryable, 7, seconds(111));
  EXPECT_TRUE(outage_.down());
}

TEST_F(OutageTest, AttemptsDoNotCountOnceItIsSuspected) {
  for (int64_t id = 1; id <= 4; ++id) {
    EXPECT_EQ(note(Kind::kUnreachable, id, seconds(1)), Verdict::kCounts);
  }
  EXPECT_EQ(note(Kind::kUnreachable, 5, seconds(2)), Verdict::kUncounted);
  EXPECT_EQ(note(Kind::kRetryable, 6, seconds(3)), Verdict::kUncounted);
  note(Kind::kAnswered, 7, seconds(4));
  EXPECT_EQ(note(Kind::kUnreachable, 5, seconds(4)), Verdict::kCounts);
}

TEST_F(OutageTest, ABlipCounts) {
  note(Kind::kUnreachable, 1, seconds(5));
  for (int64_t id = 1; id <= 100; ++id) {
    EXPECT_EQ(note(Kind::kUnreachable, id, Millis(5999)), Verdict::kCounts);
  }
}

TEST_F(OutageTest, EndsWithAGoodAnswer) {
  go_down();
  note(Kind::kGone, 9, seconds(11), true);
  EXPECT_FALSE(outage_.down());
  EXPECT_EQ(changes_, (std::vector<bool>{true, false}));
}

TEST_F(OutageTest, ProbesOneAtATimeLessAndLessOften) {
  EXPECT_FALSE(outage_.probe_due(start_ + seconds(100)));
  go_down();
  Millis now = seconds(10);
  for (const int pause : {500, 1000, 2000, 4000, 5000, 5000}) {
    EXPECT_FALSE(outage_.probe_due(start_ + now + Millis(pause - 1)));
    now += Millis(pause);
    EXPECT_TRUE(outage_.probe_due(start_ + now));
    EXPECT_FALSE(outage_.probe_due(start_ + now + seconds(100)));  // It is under way.
    now += seconds(1);
    EXPECT_EQ(note(Kind::kUnreachable, 1, now, true), Verdict::kPaused);
  }
}

TEST_F(OutageTest, AFetchFromBeforeIsNoProbe) {
  go_down();
  ASSERT_TRUE(outage_.probe_due(start_ + seconds(11)));
  note(Kind::kUnreachable, 1, seconds(12), false);
  EXPECT_FALSE(outage_.probe_due(start_ + seconds(100)));
}

TEST_F(OutageTest, UnauthorisedForEverythingPausesSooner) {
  for (int64_t id = 1; id <= 4; ++id) {
    EXPECT_EQ(note(Kind::kUnauthorised, id, seconds(5)), Verdict::kCounts);
  }
  EXPECT_EQ(note(Kind::kUnauthorised, 5, Millis(5999)), Verdict::kUncounted);
  EXPECT_FALSE(outage_.down());
  EXPECT_EQ(note(Kind::kUnauthorised, 6, seconds(6)), Verdict::kPaused);
  EXPECT_TRUE(outage_.down());
  EXPECT_NE(outage_.status().find("let this worker in"), std::string::npos);
}

TEST_F(OutageTest, UnauthorisedForOneIdCounts) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(note(Kind::kUnauthorised, 7, seconds(i)), Verdict::kCounts);
  }
}

}  // namespace
}  // namespace postoffice
