#include "server/expiry.h"

#include <gtest/gtest.h>

#include <mutex>

#include "broker/intake.h"
#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"
#include "tests/server/fake_database.h"

namespace postoffice {
namespace {

using std::chrono::minutes;

class ExpiryTest : public testing::Test {
 protected:
  static constexpr Millis kTtl{60'000};

  // The queue is read anew each time it is asked for.
  std::optional<QueueReading> read_queue() {
    const std::lock_guard lock(mutex_);
    if (!queue_) return std::nullopt;
    queue_->asked_at = SteadyClock::now();
    ++queue_->number;
    return queue_;
  }
  void set_queue(std::optional<QueueReading> queue) {
    const std::lock_guard lock(mutex_);
    const uint64_t number = queue_ ? queue_->number : 0;
    queue_ = queue;
    if (queue_) queue_->number = number;
  }
  // With a consumer.
  static QueueReading queue_of(uint32_t messages) {
    QueueReading reading;
    reading.messages = messages;
    reading.consumers = 1;
    return reading;
  }
  void put_rows(int64_t first, int64_t last, Millis age) {
    for (int64_t id = first; id <= last; ++id) {
      database_.put(
          {.id = id, .online = id % 2 == 0, .last_seen = unix_now() - age, .checked_at = {}});
    }
  }
  bool wait_for_rows(size_t count) {
    return database_.wait_until(
        [count](const FakeDatabase& database) { return database.rows.size() == count; });
  }
  // Returns after `count` more rounds of the expiry at least.
  bool wait_for_rounds(size_t count) {
    size_t until = 0;
    database_.wait_until([&](const FakeDatabase& database) {
      until = database.calls + 5 * count;
      return true;
    });
    return database_.wait_until(
        [&](const FakeDatabase& database) { return database.calls >= until; });
  }
  double metric(const std::string& line) const {
    const std::string text = metrics_.text();
    const auto at = text.find("\n" + line + " ");
    return at == std::string::npos ? 0 : std::stod(text.substr(at + line.size() + 2));
  }

  FakeDatabase database_;
  Metrics metrics_;
  ScriptedPublisher publisher_{false};
  MemoryOutbox outbox_;
  Intake intake_{{}, publisher_, outbox_, metrics_};
  std::mutex mutex_;
  std::optional<QueueReading> queue_ = QueueReading{};  // Empty and without consumers.
  const Expiry::Options options_{.object_ttl = kTtl,
                                 .process_id = "self",
                                 .interval = Millis(5),
                                 .batch_rows = 10,
                                 .between_batches = Millis(1)};
  Expiry expiry_{options_, database_.stores(), intake_, outbox_, [this] { return read_queue(); },
                 metrics_};
};

TEST_F(ExpiryTest, DeletesInBatchesWhatNobodyNamed) {
  put_rows(1, 35, kTtl + Millis(1000));
  put_rows(101, 103, kTtl - Millis(30'000));
  expiry_.start();
  ASSERT_TRUE(wait_for_rows(3));
  expiry_.stop();
  EXPECT_EQ(metric("postoffice_objects_expired_total"), 35);
  ASSERT_TRUE(database_.wait_until([](const FakeDatabase& database) {
    const std::vector<size_t> first(database.expired.begin(), database.expired.begin() + 4);
    return first == std::vector<size_t>{10, 10, 10, 5};
  }));
}

TEST_F(ExpiryTest, GoesOnWhereCountingTheObjectsFails) {
  database_.refuse_counts(true);
  put_rows(1, 5, kTtl + Millis(1000));
  expiry_.start();
  ASSERT_TRUE(
      database_.wait_until([](const FakeDatabase& database) { return database.counted > 0; }));
  put_rows(6, 10, kTtl + Millis(1000));
  EXPECT_TRUE(wait_for_rows(0));
  EXPECT_TRUE(expiry_.database_ok());
}

TEST_F(ExpiryTest, DeletesNothingWhileTheWatermarkIsUnknown) {
  set_queue(std::nullopt);
  put_rows(1, 5, kTtl + Millis(1000));
  expiry_.start();
  ASSERT_TRUE(wait_for_rounds(20));
  EXPECT_TRUE(wait_for_rows(5));
  set_queue(QueueReading{});
  EXPECT_TRUE(wait_for_rows(0));
}

TEST_F(ExpiryTest, WaitsForTheOldestCallbackInTheOutbox) {
  OutboxEntry entry{.body = "x\n", .callbacks = 1, .oldest_received_at = unix_now() - minutes(2)};
  outbox_.append({&entry, 1}, {});
  put_rows(1, 1, kTtl + minutes(1));
  put_rows(2, 2, kTtl + minutes(3));
  expiry_.start();
  ASSERT_TRUE(wait_for_rows(1));
  ASSERT_TRUE(wait_for_rounds(20));
  EXPECT_TRUE(wait_for_rows(1));
  EXPECT_EQ(metric("postoffice_outbox_callbacks"), 1);
  EXPECT_EQ(metric("postoffice_outbox_bytes"), 2);
  EXPECT_GE(metric("postoffice_outbox_oldest_seconds"), 119);
  EXPECT_GE(metric("postoffice_watermark_lag_seconds"), 119);
  const uint64_t id = entry.id;
  outbox_.remove({&id, 1});
  EXPECT_TRUE(wait_for_rows(0));
}

TEST_F(ExpiryTest, WaitsForWorkers) {
  database_.put_report({.process = "w",
                        .role = WatermarkReport::Role::kWorker,
                        .oldest = unix_now() - minutes(2),
                        .reported_at = unix_now()});
  put_rows(1, 1, kTtl + minutes(1));
  expiry_.start();
  ASSERT_TRUE(wait_for_rounds(20));
  EXPECT_TRUE(wait_for_rows(1));
}

TEST_F(ExpiryTest, ReportsWhatThisServerHolds) {
  OutboxEntry entry{.body = "x\n", .callbacks = 1, .oldest_received_at = unix_now() - minutes(2)};
  outbox_.append({&entry, 1}, {});
  expiry_.start();
  ASSERT_TRUE(database_.wait_until([&](const FakeDatabase& database) {
    const auto report = database.reports.find("self");
    return report != database.reports.end() &&
           report->second.role == WatermarkReport::Role::kServer &&
           report->second.oldest == entry.oldest_received_at && !report->second.stopped;
  }));
  expiry_.stop();
  EXPECT_TRUE(database_.wait_until(
      [](const FakeDatabase& database) { return database.reports.at("self").stopped; }));
}

// Also what came in after an earlier run's last report may have been forwarded before its end.
TEST_F(ExpiryTest, WaitsForWhatAnEarlierRunMayHaveForwarded) {
  for (const bool named_it : {true, false}) {
    WatermarkReport earlier;
    earlier.process = "self";
    if (named_it) earlier.oldest = unix_now() - minutes(2);
    earlier.reported_at = unix_now() - minutes(named_it ? 1 : 2);
    database_.put_report(earlier);
    const auto worker_reports = [this](std::optional<UnixTime> oldest) {
      database_.put_report({.process = "w",
                            .role = WatermarkReport::Role::kWorker,
                            .oldest = oldest,
                            .reported_at = unix_now()});
    };
    worker_reports(unix_now() - Millis(10'000));  // Newer, and before it in the queue.
    set_queue(queue_of(1));
    put_rows(1, 1, kTtl + minutes(1));
    put_rows(2, 2, kTtl + minutes(3));
    Expiry expiry(
        options_, database_.stores(), intake_, outbox_, [this] { return read_queue(); }, metrics_);
    expiry.start();
    ASSERT_TRUE(wait_for_rows(1));
    ASSERT_TRUE(wait_for_rounds(20));
    EXPECT_TRUE(wait_for_rows(1));
    EXPECT_TRUE(database_.wait_until([&](const FakeDatabase& database) {
      return database.reports.at("self").oldest <= unix_now() - minutes(2);
    }));
    // Until the queue was drained.
    set_queue(queue_of(0));
    const auto give_up = SteadyClock::now() + std::chrono::seconds(10);
    bool expired = false;
    while (!expired && SteadyClock::now() < give_up) {
      worker_reports(std::nullopt);
      ASSERT_TRUE(wait_for_rounds(1));
      database_.wait_until([&](const FakeDatabase& database) {
        expired = database.rows.empty();
        return true;
      });
    }
    EXPECT_TRUE(expired) << named_it;
  }
}

TEST_F(ExpiryTest, WhatWasForwardedIsForgottenAlsoWhileNobodyWorks) {
  WatermarkReport earlier;
  earlier.process = "self";
  earlier.oldest = unix_now() - minutes(2);
  earlier.stopped = true;
  database_.put_report(earlier);
  put_rows(1, 1, kTtl + minutes(1));
  expiry_.start();
  EXPECT_TRUE(wait_for_rows(0));
}

TEST_F(ExpiryTest, AnEarlierRunThatStoppedWithNothingHoldsNothingBack) {
  WatermarkReport earlier;
  earlier.process = "self";
  earlier.stopped = true;
  earlier.reported_at = unix_now() - minutes(2);
  database_.put_report(earlier);
  expiry_.start();
  EXPECT_TRUE(database_.wait_until([](const FakeDatabase& database) {
    return !database.reports.at("self").stopped && !database.reports.at("self").oldest;
  }));
}

TEST_F(ExpiryTest, ForgetsThoseWhoAreOfNoUse) {
  WatermarkReport gone;
  gone.process = "gone";
  gone.stopped = true;
  database_.put_report(gone);
  expiry_.start();
  EXPECT_TRUE(database_.wait_until([](const FakeDatabase& database) {
    return database.reports.contains("self") && !database.reports.contains("gone");
  }));
}

TEST_F(ExpiryTest, CountsTheTable) {
  put_rows(1, 5, Millis(0));
  expiry_.start();
  ASSERT_TRUE(wait_for_rounds(3));
  expiry_.stop();
  EXPECT_EQ(metric("postoffice_objects{online=\"true\"}"), 2);
  EXPECT_EQ(metric("postoffice_objects{online=\"false\"}"), 3);
}

TEST_F(ExpiryTest, OutlivesADatabaseThatIsAway) {
  database_.take_away(true);
  put_rows(1, 5, kTtl + Millis(1000));
  expiry_.start();
  ASSERT_TRUE(
      database_.wait_until([](const FakeDatabase& database) { return database.calls > 2; }));
  EXPECT_FALSE(expiry_.database_ok());
  EXPECT_EQ(expiry_.database_status(), "the fake database is away");
  database_.take_away(false);
  ASSERT_TRUE(wait_for_rows(0));
  expiry_.stop();
  EXPECT_TRUE(expiry_.database_ok());
  EXPECT_EQ(expiry_.database_status(), "a database in memory");
}

TEST_F(ExpiryTest, StopWithoutStartAndTwiceIsFine) {
  expiry_.stop();
  expiry_.stop();
}

}  // namespace
}  // namespace postoffice
