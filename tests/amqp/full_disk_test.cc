#include <gmock/gmock.h>
#include <sys/resource.h>

#include <chrono>
#include <ctime>
#include <memory>
#include <thread>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

using std::chrono::milliseconds;

class FullDiskTest : public ChannelTest {};
INSTANTIATE_TEST_SUITE_P(Embedded, FullDiskTest, testing::Values(&embedded));

milliseconds cpu_of_this_process() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1'000'000);
}

// The event loop once turned without end while a confirm waited.
TEST_P(FullDiskTest, AConfirmThatWaitsForTheDiskCostsNoCpu) {
  ch().declare(q(), {.durable = true});
  ch().confirm_select();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const std::shared_ptr<void> guard(nullptr, [before](void*) { setrlimit(RLIMIT_FSIZE, &before); });
  rlimit small = before;
  small.rlim_cur = 1 << 20;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  ch().publish(q(), std::string(2 << 20, 'x'), persistent());
  client().take(0, AMQP_CONNECTION_BLOCKED_METHOD);

  const auto cpu = cpu_of_this_process();
  std::this_thread::sleep_for(milliseconds(300));  // The time that is measured.
  EXPECT_LT(cpu_of_this_process() - cpu, milliseconds(100));

  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(ch().confirms(), testing::IsEmpty());
}

}  // namespace
}  // namespace postoffice::amqp_test
