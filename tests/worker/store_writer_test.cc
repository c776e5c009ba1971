#include "worker/store_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "base/error.h"
#include "tests/worker/fakes.h"

namespace postoffice::testing {
namespace {

class StoreWriterTest : public ::testing::Test {
 protected:
  StoreWriterTest() {
    options_.batch_rows = 10;
    options_.most_waiting = 20;
    options_.backoff_least = Millis(1);
    options_.backoff_most = Millis(5);
  }
  void start() {
    writer_ =
        std::make_unique<StoreWriter>(options_, database_.factory(),
                                      StoreWriter::Handler{[this](auto findings) {
                                                             const std::lock_guard lock(mutex_);
                                                             for (const auto& finding : findings)
                                                               stored_.push_back(finding.update.id);
                                                           },
                                                           [this](auto finding, auto& why) {
                                                             const std::lock_guard lock(mutex_);
                                                             refused_[finding.update.id] = why;
                                                           },
                                                           [this](bool full) { full_ = full; }},
                                      health_, metrics_);
    writer_->start();
  }
  void put(int64_t id) {
    Finding finding;
    finding.update.id = id;
    writer_->put(std::move(finding));
  }
  size_t stored() {
    const std::lock_guard lock(mutex_);
    return stored_.size();
  }
  std::map<int64_t, std::string> refused() {
    const std::lock_guard lock(mutex_);
    return refused_;
  }

  StoreWriter::Options options_;
  Metrics metrics_;
  FakeDatabase database_;
  DatabaseHealth health_;
  std::mutex mutex_;
  std::vector<int64_t> stored_;
  std::map<int64_t, std::string> refused_;
  std::atomic<bool> full_ = false;
  std::unique_ptr<StoreWriter> writer_;
};

TEST_F(StoreWriterTest, WritesWhatWaitsInBatches) {
  Gate gate;
  database_.set_fault([&](const auto&) { gate.wait(); });
  start();
  for (int64_t id = 0; id < 100; ++id) put(id);
  gate.open();
  ASSERT_TRUE(eventually([&] { return stored() == 100; }));
  EXPECT_EQ(database_.rows(), 100u);
  EXPECT_LE(database_.batches(), 12u);
  EXPECT_EQ(database_.largest_batch(), 10u);
  EXPECT_EQ(metric(metrics_, "postoffice_objects_stored_total"), 100);
}

TEST_F(StoreWriterTest, GathersABatchUnlessItIsTheFirstForAWhileOrFull) {
  options_.gather = Millis(3000);
  start();
  const auto began = SteadyClock::now();
  put(0);
  ASSERT_TRUE(eventually([&] { return stored() == 1; }));
  EXPECT_LT(SteadyClock::now() - began, Millis(2500));
  for (int64_t id = 1; id < 6; ++id) {
    put(id);
    std::this_thread::sleep_for(Millis(10));
  }
  ASSERT_TRUE(eventually([&] { return stored() == 6; }));
  EXPECT_EQ(database_.batches(), 2u);
  const auto full_at = SteadyClock::now();
  for (int64_t id = 6; id < 16; ++id) put(id);
  ASSERT_TRUE(eventually([&] { return stored() == 16; }));
  EXPECT_LT(SteadyClock::now() - full_at, Millis(2500));
  EXPECT_EQ(database_.batches(), 3u);
}

TEST_F(StoreWriterTest, TriesAgainWithWhatCameMeanwhileWhileTheDatabaseIsAway) {
  std::atomic<int> failures = 0;
  database_.set_fault([&](const auto&) {
    if (++failures <= 3) throw Transient("away");
  });
  start();
  put(1);
  ASSERT_TRUE(eventually([&] { return failures >= 1; }));
  put(2);
  ASSERT_TRUE(eventually([&] { return stored() == 2; }));
  EXPECT_TRUE(health_.ok());
}

TEST_F(StoreWriterTest, AnOutageIsNoHotLoop) {
  options_.backoff_least = Millis(50);
  options_.backoff_most = Millis(50);
  database_.set_fault([](const auto&) { throw Transient("away"); });
  const auto began = SteadyClock::now();
  start();
  put(1);
  ASSERT_TRUE(eventually([&] { return database_.attempts() == 5; }));
  EXPECT_GE(SteadyClock::now() - began, Millis(200));
  EXPECT_FALSE(health_.ok());
  EXPECT_EQ(health_.status(), "away");
}

TEST_F(StoreWriterTest, FindsTheCulpritAndStoresTheRest) {
  Gate gate;
  database_.set_fault([&](const std::vector<ObjectUpdate>& updates) {
    gate.wait();
    if (std::ranges::any_of(updates, [](auto& update) { return update.id % 10 == 3; })) {
      throw Permanent("out of range");
    }
  });
  start();
  for (int64_t id = 0; id < 30; ++id) put(id);
  gate.open();
  ASSERT_TRUE(eventually([&] { return stored() + refused().size() == 30; }));
  EXPECT_EQ(refused(), (std::map<int64_t, std::string>{
                           {3, "out of range"}, {13, "out of range"}, {23, "out of range"}}));
  EXPECT_EQ(database_.rows(), 27u);
}

TEST_F(StoreWriterTest, ADatabaseThatGoesAwayWhileTheCulpritIsLookedForLosesNothing) {
  Gate gate;
  std::atomic<int> calls = 0;
  database_.set_fault([&](const std::vector<ObjectUpdate>& updates) {
    gate.wait();
    if (++calls % 2 == 0) throw Transient("away");
    if (std::ranges::any_of(updates, [](auto& update) { return update.id == 3; })) {
      throw Permanent("out of range");
    }
  });
  start();
  for (int64_t id = 0; id < 10; ++id) put(id);
  gate.open();
  ASSERT_TRUE(eventually([&] { return stored() + refused().size() == 10; }));
  EXPECT_EQ(refused().size(), 1u);
  EXPECT_EQ(database_.rows(), 9u);
}

TEST_F(StoreWriterTest, SaysWhenAsMuchWaitsAsMayAndWhenHalfOfItIsWritten) {
  std::atomic<bool> away = true;
  database_.set_fault([&](const auto&) {
    if (away) throw Transient("away");
  });
  start();
  for (int64_t id = 0; id < 19; ++id) put(id);
  for (int64_t id = 19; id < 40; ++id) put(id);
  EXPECT_TRUE(eventually([&] { return full_.load(); }));
  away = false;
  EXPECT_TRUE(eventually([&] { return !full_; }));
  EXPECT_TRUE(eventually([&] { return stored() == 40; }));
}

TEST_F(StoreWriterTest, StopsAtTheDeadlineAlthoughTheDatabaseHangs) {
  Gate gate;
  std::atomic<bool> hangs = false;
  database_.set_fault([&](const auto&) {
    hangs = true;
    gate.wait();
  });
  start();
  put(1);
  ASSERT_TRUE(eventually([&] { return hangs.load(); }));
  const auto began = SteadyClock::now();
  EXPECT_FALSE(writer_->stop(began + Millis(100)));
  EXPECT_LT(SteadyClock::now() - began, Millis(2000));
  gate.open();
  EXPECT_TRUE(writer_->stop(SteadyClock::now() + std::chrono::seconds(20)));
}

TEST_F(StoreWriterTest, StopsAtOnceWhileTheDatabaseIsAway) {
  options_.backoff_least = std::chrono::hours(1);
  database_.set_fault([](const auto&) { throw Transient("away"); });
  start();
  put(1);
  ASSERT_TRUE(eventually([&] { return database_.attempts() == 1; }));
  EXPECT_TRUE(writer_->stop(SteadyClock::now() + std::chrono::seconds(20)));
}

TEST(DatabaseHealth, IsWellWhenBothOfItsUsersAre) {
  DatabaseHealth health;
  EXPECT_FALSE(health.ok());
  health.answered(DatabaseHealth::User::kReporter, "a database");
  EXPECT_TRUE(health.ok());
  EXPECT_EQ(health.status(), "a database");
  health.failed(DatabaseHealth::User::kWriter, "gone");
  health.answered(DatabaseHealth::User::kReporter, "a database");
  EXPECT_FALSE(health.ok());
  health.answered(DatabaseHealth::User::kWriter, "a database");
  EXPECT_TRUE(health.ok());
}

}  // namespace
}  // namespace postoffice::testing
