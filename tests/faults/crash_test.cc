#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <thread>

#include "tests/faults/broker_process.h"
#include "tests/faults/lane.h"

namespace postoffice::faults_test {
namespace {

using std::chrono::milliseconds;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kKills = 15;
constexpr int kMostMillis = 3000;  // They are slow to begin.
constexpr uint64_t kLeastConfirmed = 1;
#else
constexpr int kKills = 200;
constexpr int kMostMillis = 250;
constexpr uint64_t kLeastConfirmed = 1000;
#endif
constexpr size_t kLanes = 8;

class Crash : public testing::Test {
 protected:
  Crash() { life_.port = broker_.port(); }

  void await() {
    broker_.await();
    life_.is_away = false;
  }
  void kill() {
    life_.is_away = true;
    ++life_.kills;
    broker_.kill();
    // Nothing but the end of the log may be torn.
    std::istringstream lines(broker_.output());
    for (std::string line; std::getline(lines, line);) {
      EXPECT_NE(line.find("cut, what follows was not completely written"), std::string::npos)
          << line;
    }
  }
  int random(int least, int most) {
    return std::uniform_int_distribution<int>(least, most)(random_);
  }

  // What nobody consumed: each lane's confirmed messages once, in order.
  void expect_all_kept(const std::vector<std::unique_ptr<Lane>>& lanes) {
    std::map<std::string, std::vector<uint64_t>> kept;
    const auto client = broker_.connect();
    auto channel = client->channel(1);
    uint32_t left = channel.ready(kAllQueue);
    channel.consume(kAllQueue, {.no_ack = true});
    for (; left > 0; --left) {
      const auto message = channel.delivery();
      kept[message.key].push_back(Lane::number_of(message.body));
    }
    for (const auto& lane : lanes) {
      const auto& numbers = kept[lane->name()];
      EXPECT_TRUE(std::ranges::is_sorted(numbers, std::less_equal<>())) << lane->name();
      uint64_t lost = 0;
      for (uint64_t number = 1; number <= lane->published(); ++number) {
        if (lane->is_confirmed(number) && !std::ranges::binary_search(numbers, number)) ++lost;
      }
      EXPECT_EQ(lost, 0u) << lane->name() << " of " << lane->confirmed();
    }
  }

  // Small segments, so that they are begun, dropped and compacted all the time.
  BrokerProcess broker_{1 << 20};
  BrokerLife life_;
  std::mt19937 random_{std::random_device{}()};
};

TEST_F(Crash, KilledManyTimesUnderConfirmedLoadLosesAndRepeatsNothing) {
  std::vector<std::unique_ptr<Lane>> lanes;
  for (size_t i = 0; i < kLanes; ++i) lanes.push_back(std::make_unique<Lane>(life_, i));
  std::vector<std::jthread> threads;
  for (auto& lane : lanes) threads.emplace_back([&lane] { lane->run(); });

  for (int i = 0; i < kKills && !HasFatalFailure(); ++i) {
    broker_.start();
    if (random(0, 4) > 0) await();  // Else it dies while it recovers.
    std::this_thread::sleep_for(milliseconds(random(0, kMostMillis)));
    kill();
  }
  broker_.start();
  await();
  life_.is_over = true;
  threads.clear();

  uint64_t confirmed = 0;
  for (const auto& lane : lanes) {
    for (const auto& wrong : lane->wrongs()) ADD_FAILURE() << wrong;
    confirmed += lane->confirmed();
  }
  std::cout << "  " << kKills << " kills, " << confirmed << " messages confirmed\n";
  EXPECT_GE(confirmed, kLeastConfirmed);
  expect_all_kept(lanes);
}

}  // namespace
}  // namespace postoffice::faults_test
