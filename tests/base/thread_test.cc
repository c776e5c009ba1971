#include "base/thread.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <stdexcept>

#include "base/wakeup.h"

namespace postoffice {
namespace {

TEST(Thread, RunsItsBodyAndIsJoinedOnce) {
  std::atomic<int> runs = 0;
  Thread thread(
      "test", [&] { ++runs; }, 256 * 1024);
  thread.join();
  thread.join();
  EXPECT_EQ(runs, 1);
}

TEST(Thread, MovingKeepsTheThread) {
  std::atomic<int> runs = 0;
  Thread first("first", [&] { ++runs; });
  Thread second = std::move(first);
  second = Thread("third", [&] { ++runs; });
  second.join();
  first.join();  // NOLINT(bugprone-use-after-move): joining what was moved from is fine.
  EXPECT_EQ(runs, 2);
}

TEST(ThreadDeathTest, AnEscapedExceptionEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(Thread("doomed", [] { throw std::runtime_error("no"); }).join(), "");
}

bool readable(const Wakeup& wakeup) {
  pollfd poll_fd{.fd = wakeup.fd(), .events = POLLIN, .revents = 0};
  return poll(&poll_fd, 1, 0) == 1;
}

TEST(Wakeup, IsReadableFromRingToClear) {
  const Wakeup wakeup;
  EXPECT_FALSE(readable(wakeup));
  wakeup.ring();
  wakeup.ring();
  EXPECT_TRUE(readable(wakeup));
  wakeup.clear();
  EXPECT_FALSE(readable(wakeup));
  wakeup.clear();
}

}  // namespace
}  // namespace postoffice
