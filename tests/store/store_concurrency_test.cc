#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "base/error.h"
#include "base/thread.h"
#include "store/store.h"
#include "tests/store/test_database.h"

namespace postoffice::testing_store {
namespace {

using Kind = ObjectUpdate::Kind;

class StoresAtOnce : public testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    if (!has_engine(GetParam())) GTEST_SKIP() << "TEST_DATABASE_URL is not set";
    database_ = make_test_database(GetParam());
    database_->migrator()->migrate();
    factory_ = database_->factory();
    store_ = factory_();
    now_ = store_->now();
  }

  // Runs `body` with a store of its own on each of `count` threads; any exception fails the test.
  void at_once(int count, const std::function<void(postoffice::Store&, int)>& body) {
    std::vector<Thread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back("store", [this, &body, i] {
        try {
          const auto store = factory_();
          body(*store, i);
        } catch (const std::exception& error) {
          ADD_FAILURE() << error.what();
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }

  // A lock that others hold for long is to be waited for again.
  template <typename Call>
  static auto insist(const Call& call) {
    for (int left = 20;; --left) {
      try {
        return call();
      } catch (const Transient&) {
        if (left == 0) throw;
      }
    }
  }

  std::unique_ptr<TestDatabase> database_;
  StoreFactory factory_;
  std::unique_ptr<postoffice::Store> store_;
  UnixTime now_;
};

INSTANTIATE_TEST_SUITE_P(Postgres, StoresAtOnce, testing::Values(Engine::kPostgres));
INSTANTIATE_TEST_SUITE_P(Sqlite, StoresAtOnce, testing::Values(Engine::kSqlite));

TEST_P(StoresAtOnce, WritersOfTheSameRowsInAnyOrderNeitherDeadlockNorLoseAnUpdate) {
  constexpr int kWriters = 4;
  constexpr int kBatches = 40;
  constexpr int64_t kIds = 200;
  at_once(kWriters, [&](postoffice::Store& store, int writer) {
    std::mt19937 random(static_cast<unsigned>(writer));
    for (int n = 1; n <= kBatches; ++n) {
      // The greatest times, which must win, are written by each writer in its last batch.
      const Millis age(kBatches - n);
      std::vector<ObjectUpdate> batch;
      for (int64_t id = 0; id < kIds; ++id) {
        const auto kind = n == kBatches ? Kind::kAnswered : static_cast<Kind>(random() % 3);
        batch.push_back({id, kind, n == kBatches, now_ - age, now_ - age});
      }
      std::shuffle(batch.begin(), batch.end(), random);
      insist([&] { store.apply(batch); });
    }
  });
  const auto rows = store_->list({}, {}, kIds + 1);
  ASSERT_EQ(rows.size(), static_cast<size_t>(kIds));
  for (const auto& row : rows) {
    EXPECT_TRUE(row.online) << row.id;
    EXPECT_EQ(row.last_seen, now_) << row.id;
    EXPECT_EQ(row.checked_at, now_) << row.id;
  }
}

TEST_P(StoresAtOnce, WhatIsUpsertedWhileExpirersRunStays) {
  constexpr int64_t kIds = 3000;
  const auto old = now_ - std::chrono::hours(1);
  std::vector<ObjectUpdate> batch;
  for (int64_t id = 0; id < kIds; ++id) batch.push_back({id, Kind::kAnswered, true, old, old});
  store_->apply(batch);
  std::atomic<bool> upserted = false;
  std::atomic<size_t> expired = 0;
  at_once(3, [&](postoffice::Store& store, int thread) {
    if (thread == 0) {
      for (int64_t id = 0; id < kIds; id += 2) {
        std::vector<ObjectUpdate> some;
        for (; some.size() < 50 && id < kIds; id += 2) {
          some.push_back({id, Kind::kAnswered, false, now_, now_});
        }
        id -= 2;
        insist([&] { store.apply(some); });
      }
      upserted = true;
      return;
    }
    bool after = false;
    while (!after) {
      after = upserted;
      expired += insist([&] { return store.expire({}, Millis(30'000), 70); }).value_or(0);
    }
    while (insist([&] { return store.expire({}, Millis(30'000), 70); }) != 0U) {
    }
  });
  const auto rows = store_->list({}, {}, kIds);
  EXPECT_EQ(rows.size(), static_cast<size_t>(kIds / 2));
  for (const auto& row : rows) {
    EXPECT_EQ(row.id % 2, 0);
    EXPECT_FALSE(row.online);
  }
  EXPECT_GT(expired, 0U);
}

TEST_P(StoresAtOnce, ExpirersDeleteEachRowOnce) {
  constexpr int64_t kIds = 2000;
  const auto old = now_ - std::chrono::hours(1);
  std::vector<ObjectUpdate> batch;
  for (int64_t id = 0; id < kIds; ++id) batch.push_back({id, Kind::kAnswered, true, old, old});
  store_->apply(batch);
  std::atomic<size_t> expired = 0;
  at_once(3, [&](postoffice::Store& store, int /*thread*/) {
    while (true) {
      const auto deleted = insist([&] { return store.expire({}, Millis(30'000), 50); });
      expired += deleted.value_or(0);
      if (deleted == 0U) return;
    }
  });
  EXPECT_EQ(expired, static_cast<size_t>(kIds));
}

TEST_P(StoresAtOnce, ReadersSeeWholeBatches) {
  std::atomic<bool> written = false;
  at_once(3, [&](postoffice::Store& store, int thread) {
    for (int n = 0; thread == 0 && n < 50; ++n) {
      std::vector<ObjectUpdate> batch;
      for (int64_t id = 0; id < 100; ++id) {
        batch.push_back({id, Kind::kAnswered, n % 2 == 0, now_, now_ + Millis(n)});
      }
      insist([&] { store.apply(batch); });
    }
    if (thread == 0) written = true;
    while (!written) {
      const auto counts = store.counts();
      EXPECT_TRUE(counts.online == 0 || counts.offline == 0);
    }
  });
}

TEST_P(StoresAtOnce, ReportsOfManyProcesses) {
  at_once(8, [&](postoffice::Store& store, int thread) {
    for (int n = 0; n < 10; ++n) {
      insist([&] {
        store.report({"p" + std::to_string(thread),
                      WatermarkReport::Role::kWorker,
                      now_ + Millis(n),
                      n == 9,
                      {}});
      });
    }
  });
  const auto reports = store_->reports();
  EXPECT_EQ(reports.size(), 8U);
  for (const auto& report : reports) {
    EXPECT_EQ(report.oldest, now_ + Millis(9));
    EXPECT_TRUE(report.stopped);
  }
}

}  // namespace
}  // namespace postoffice::testing_store
