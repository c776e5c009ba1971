#include "worker/fetch_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/thread.h"
#include "tests/worker/fakes.h"

namespace postoffice::testing {
namespace {

constexpr UnixTime at(int64_t millis) { return UnixTime(Millis(millis)); }
constexpr DeliveryHandle delivery(uint32_t slot) { return {slot, 0}; }

class FetchQueueTest : public ::testing::Test {
 protected:
  void add(int64_t id, uint32_t slot = 0, int64_t received = 0, int attempt = 0) {
    const Naming naming{id, at(received), attempt, delivery(slot)};
    queue_.add({&naming, 1});
  }
  // What take() would give without waiting.
  std::optional<Fetch> take() {
    if (queue_.waiting() == 0) return std::nullopt;
    return queue_.take();
  }
  FetchQueue queue_;
};

TEST_F(FetchQueueTest, IsFirstComeFirstServed) {
  for (const int64_t id : {5, -3, 9}) add(id);
  EXPECT_EQ(take()->id, 5);
  EXPECT_EQ(take()->id, -3);
  EXPECT_EQ(take()->id, 9);
}

TEST_F(FetchQueueTest, AnIdThatWaitsIsFetchedOnceForAllWhoNamedIt) {
  add(7, 1, 100, 2);
  add(8, 2);
  add(7, 3, 300, 0);
  add(7, 4, 200, 4);
  EXPECT_EQ(queue_.waiting(), 2u);
  const auto fetch = take();
  EXPECT_EQ(fetch->id, 7);
  EXPECT_EQ(fetch->received_at, at(300));
  EXPECT_EQ(fetch->attempt, 0);
  EXPECT_EQ(fetch->deliveries,
            (std::vector<DeliveryHandle>{delivery(1), delivery(3), delivery(4)}));
}

TEST_F(FetchQueueTest, AnIdUnderWayIsFetchedOnceMoreWhoeverNamedItMeanwhile) {
  add(7, 1, 500);
  take();
  add(7, 2, 100, 3);
  add(7, 3, 200, 1);
  add(8, 4);
  EXPECT_EQ(queue_.waiting(), 1u);
  queue_.finished(7);
  EXPECT_EQ(take()->id, 8);  // The trailing fetch has to queue.
  const auto trailing = take();
  EXPECT_EQ(trailing->id, 7);
  EXPECT_EQ(trailing->received_at, at(200));
  EXPECT_EQ(trailing->attempt, 1);
  EXPECT_EQ(trailing->deliveries.size(), 2u);
  queue_.finished(7);
  EXPECT_EQ(queue_.waiting(), 0u);
}

TEST_F(FetchQueueTest, WhatIsGivenBackWaitsWithThoseWhoNamedItMeanwhile) {
  add(7, 1, 500, 2);
  const auto fetch = take();
  add(7, 2, 100, 3);
  EXPECT_TRUE(queue_.give_back(*fetch));
  const auto again = take();
  EXPECT_EQ(again->deliveries.size(), 2u);
  EXPECT_EQ(again->received_at, at(500));
  EXPECT_EQ(again->attempt, 2);
}

TEST_F(FetchQueueTest, HandsOutNothingWhileTheStoreIsFull) {
  queue_.set_paused(FetchQueue::Pause::kStore, true);
  add(1);
  std::atomic<bool> taken = false;
  Thread taker("taker", [&] {
    queue_.take();
    taken = true;
  });
  add(2);
  queue_.set_paused(FetchQueue::Pause::kOutage, true);
  queue_.set_paused(FetchQueue::Pause::kOutage, false);
  EXPECT_FALSE(taken);
  queue_.set_paused(FetchQueue::Pause::kStore, false);
  taker.join();
  EXPECT_TRUE(taken);
}

TEST_F(FetchQueueTest, ProbesTakeTurnsBetweenNewIdsAndThoseGivenBack) {
  for (const int64_t id : {1, 2, 3}) add(id);
  const auto first = take();
  const auto second = take();
  queue_.set_paused(FetchQueue::Pause::kOutage, true);
  queue_.give_back(*first);
  queue_.give_back(*second);
  add(4);
  std::vector<int64_t> probed;
  for (int i = 0; i < 6; ++i) {
    queue_.allow_probe();
    const auto probe = take();
    EXPECT_TRUE(probe->is_probe);
    probed.push_back(probe->id);
    queue_.give_back(*probe);
  }
  EXPECT_EQ(probed, (std::vector<int64_t>{3, 1, 4, 2, 3, 1}));
  queue_.set_paused(FetchQueue::Pause::kOutage, false);
  EXPECT_FALSE(take()->is_probe);
}

TEST_F(FetchQueueTest, OneProbeIsOneId) {
  queue_.set_paused(FetchQueue::Pause::kOutage, true);
  std::atomic<int> taken = 0;
  std::vector<Thread> takers;
  for (int i = 0; i < 3; ++i) {
    takers.emplace_back("taker", [&] {
      while (queue_.take()) ++taken;
    });
  }
  for (const int64_t id : {1, 2, 3}) add(id);
  queue_.allow_probe();
  EXPECT_TRUE(eventually([&] { return taken == 1; }));
  EXPECT_EQ(queue_.waiting(), 2u);
  queue_.close();
}

TEST_F(FetchQueueTest, DropsWhatNobodyWaitsForAnyMore) {
  add(1, 1);
  take();
  add(1, 2);  // A trailing fetch.
  add(2, 1);
  add(2, 3);
  add(3, 2);
  queue_.drop_unless([](DeliveryHandle handle) { return handle.slot == 3; });
  EXPECT_EQ(queue_.waiting(), 1u);
  queue_.finished(1);
  EXPECT_EQ(queue_.waiting(), 1u);
  const auto fetch = take();
  EXPECT_EQ(fetch->id, 2);
  EXPECT_EQ(fetch->deliveries, std::vector<DeliveryHandle>{delivery(3)});
  add(3, 3);
  EXPECT_EQ(take()->id, 3);
}

TEST_F(FetchQueueTest, ClosingEndsThoseWhoWaitAndSaysWhoseIdsWereNotFetched) {
  queue_.set_paused(FetchQueue::Pause::kStore, true);
  std::vector<Thread> takers;
  for (int i = 0; i < 4; ++i) {
    takers.emplace_back("taker", [&] { EXPECT_FALSE(queue_.take().has_value()); });
  }
  add(1, 1);
  add(1, 2);
  EXPECT_EQ(queue_.close(), (std::vector<DeliveryHandle>{delivery(1), delivery(2)}));
  for (auto& taker : takers) taker.join();
  add(2, 3);
  EXPECT_EQ(queue_.waiting(), 0u);
}

TEST_F(FetchQueueTest, ClosedItTakesNothingBack) {
  add(1, 1);
  const auto fetch = take();
  add(1, 2);
  EXPECT_EQ(queue_.close(), std::vector<DeliveryHandle>{delivery(2)});
  EXPECT_FALSE(queue_.give_back(*fetch));
}

TEST_F(FetchQueueTest, ManyThreadsFetchEachIdOnceForEachNamingBatch) {
  constexpr int kIds = 2000;
  std::atomic<int> fetched = 0;
  std::vector<Thread> takers;
  for (int i = 0; i < 16; ++i) {
    takers.emplace_back("taker", [&] {
      while (const auto fetch = queue_.take()) {
        ++fetched;
        queue_.finished(fetch->id);
      }
    });
  }
  for (int64_t id = 0; id < kIds; ++id) add(id);
  EXPECT_TRUE(eventually([&] { return fetched == kIds; }));
  EXPECT_EQ(queue_.waiting(), 0u);
  queue_.close();
  takers.clear();
  EXPECT_EQ(fetched, kIds);
}

}  // namespace
}  // namespace postoffice::testing
