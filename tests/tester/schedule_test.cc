#include "tester/schedule.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/tester/eventually.h"

namespace postoffice::tester {
namespace {

using std::chrono::milliseconds;

TEST(Schedule, EndsAfterCountOverAllThreads) {
  Schedule schedule(milliseconds(1), 50);
  std::atomic<int> turns = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (schedule.wait_for_turn()) ++turns;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(turns, 50);
}

TEST(Schedule, FirstTurnIsAfterOnePeriod) {
  const auto began = SteadyClock::now();
  Schedule schedule(milliseconds(60), std::nullopt);
  ASSERT_TRUE(schedule.wait_for_turn());
  EXPECT_GE(SteadyClock::now() - began, milliseconds(60));
  ASSERT_TRUE(schedule.wait_for_turn());
  EXPECT_GE(SteadyClock::now() - began, milliseconds(120));
}

TEST(Schedule, StopWakesUpWhoeverWaits) {
  Schedule schedule(std::chrono::hours(1), std::nullopt);
  std::atomic<int> ended = 0;
  std::thread turn([&] {
    EXPECT_FALSE(schedule.wait_for_turn());
    ++ended;
  });
  std::thread pause([&] {
    EXPECT_FALSE(schedule.pause(std::chrono::hours(1)));
    ++ended;
  });
  schedule.stop();
  EXPECT_TRUE(eventually([&] { return ended == 2; }));
  turn.join();
  pause.join();
  EXPECT_FALSE(schedule.wait_for_turn());
}

// An hour without anyone free is not followed by an hour's callbacks at once.
TEST(Schedule, SkipsWhatIsMoreThanASecondLate) {
  Schedule schedule(milliseconds(10), std::nullopt);
  const auto late = SteadyClock::now() + milliseconds(1500);
  ASSERT_TRUE(eventually([&] { return SteadyClock::now() >= late; }));
  const auto began = SteadyClock::now();
  ASSERT_TRUE(schedule.wait_for_turn());
  EXPECT_GE(schedule.skipped(), 148u);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(schedule.wait_for_turn());
  EXPECT_GE(SteadyClock::now() - began, milliseconds(80));
}

TEST(Schedule, MakesUpForShortDelays) {
  // A machine that stalls makes the delay a long one, but not each time.
  bool made_up = false;
  for (int attempt = 0; attempt < 5 && !made_up; ++attempt) {
    Schedule schedule(milliseconds(10), std::nullopt);
    const auto late = SteadyClock::now() + milliseconds(500);
    ASSERT_TRUE(eventually([&] { return SteadyClock::now() >= late; }));
    const auto began = SteadyClock::now();
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(schedule.wait_for_turn());
    // At once, where fifty turns in time would take half a second.
    made_up = SteadyClock::now() - began < milliseconds(400) && schedule.skipped() == 0;
  }
  EXPECT_TRUE(made_up);
}

}  // namespace
}  // namespace postoffice::tester
