#include "store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "base/error.h"
#include "tests/store/test_database.h"

// What every store promises, on each engine.
namespace postoffice::testing_store {
namespace {

using Kind = ObjectUpdate::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

class Store : public testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    if (!has_engine(GetParam())) GTEST_SKIP() << "TEST_DATABASE_URL is not set";
    database_ = make_test_database(GetParam());
    database_->migrator()->migrate();
    store_ = database_->factory()();
    now_ = store_->now();
  }

  // Times are given as milliseconds after a moment a minute ago, so that none is in the future.
  UnixTime at(int64_t millis) const { return now_ - Millis(60'000) + Millis(millis); }
  ObjectUpdate answered(int64_t id, bool online, int64_t received, int64_t checked) const {
    return {id, Kind::kAnswered, online, at(received), at(checked)};
  }
  ObjectUpdate gone(int64_t id, int64_t received, int64_t checked) const {
    return {id, Kind::kGone, false, at(received), at(checked)};
  }
  ObjectUpdate named(int64_t id, int64_t received) const {
    return {id, Kind::kNamed, false, at(received), {}};
  }

  // "online seen checked" of a row, in the times above; "none".
  std::string row(int64_t id) {
    const auto found = store_->find(id);
    if (!found) return "none";
    EXPECT_EQ(found->id, id);
    return std::string(found->online ? "online " : "offline ") +
           std::to_string((found->last_seen - at(0)).count()) + " " +
           std::to_string((found->checked_at - at(0)).count());
  }
  std::vector<int64_t> ids(std::optional<bool> online, std::optional<int64_t> after, size_t limit) {
    std::vector<int64_t> ids;
    for (const auto& row : store_->list(online, after, limit)) ids.push_back(row.id);
    return ids;
  }

  std::unique_ptr<TestDatabase> database_;
  std::unique_ptr<postoffice::Store> store_;
  UnixTime now_;
};

INSTANTIATE_TEST_SUITE_P(Postgres, Store, testing::Values(Engine::kPostgres));
INSTANTIATE_TEST_SUITE_P(Sqlite, Store, testing::Values(Engine::kSqlite));

TEST_P(Store, AnAnswerInsertsTheRow) {
  EXPECT_EQ(row(7), "none");
  store_->apply({answered(7, true, 10, 20)});
  EXPECT_EQ(row(7), "online 10 20");
}

TEST_P(Store, EveryIdIsAnId) {
  store_->apply(
      {answered(kMost, true, 3, 0), answered(0, true, 2, 0), answered(kLeast, true, 1, 0)});
  EXPECT_EQ(row(kLeast), "online 1 0");
  EXPECT_EQ(row(0), "online 2 0");
  EXPECT_EQ(row(kMost), "online 3 0");
  EXPECT_THAT(ids({}, {}, 10), ElementsAre(kLeast, 0, kMost));
  EXPECT_THAT(ids({}, kMost, 10), IsEmpty());
}

TEST_P(Store, LastSeenOnlyMovesForward) {
  store_->apply({answered(7, true, 10, 20)});
  store_->apply({answered(7, true, 5, 30)});
  EXPECT_EQ(row(7), "online 10 30");
  store_->apply({answered(7, true, 15, 40)});
  EXPECT_EQ(row(7), "online 15 40");
}

TEST_P(Store, LastSeenIsNeverInTheFuture) {
  const auto future = now_ + std::chrono::hours(1);
  store_->apply({{1, Kind::kAnswered, true, future, now_}, answered(2, true, 0, 0)});
  store_->apply({{2, Kind::kNamed, false, future, {}}});
  for (const int64_t id : {1, 2}) {
    EXPECT_GE(store_->find(id)->last_seen, now_);
    EXPECT_LE(store_->find(id)->last_seen, store_->now());
  }
}

// A worker whose clock is ahead does not outdo the others until theirs have caught up.
TEST_P(Store, CheckedAtIsNeverInTheFuture) {
  const auto future = now_ + std::chrono::hours(1);
  store_->apply({{1, Kind::kAnswered, true, now_, future}, {2, Kind::kAnswered, true, now_, now_}});
  EXPECT_LE(store_->find(1)->checked_at, store_->now());
  store_->apply({{1, Kind::kAnswered, false, now_, store_->now()}});
  EXPECT_FALSE(store_->find(1)->online);
  const auto checked_at = store_->now() + std::chrono::minutes(1);
  database_->execute(GetParam() == Engine::kPostgres
                         ? "UPDATE objects SET checked_at = now() + interval '1 minute'"
                         : "UPDATE objects SET checked_at = " +
                               std::to_string(to_unix_millis(checked_at)));
  store_->apply({{2, Kind::kGone, false, now_, future}});
  EXPECT_TRUE(store_->find(2)) << "404 is not from the future either";
}

TEST_P(Store, OnlineFollowsTheNewestFetchWhicheverCallbackAskedForIt) {
  store_->apply({answered(7, true, 10, 20)});
  store_->apply({answered(7, false, 30, 15)});
  EXPECT_EQ(row(7), "online 30 20");
  store_->apply({answered(7, false, 5, 25)});
  EXPECT_EQ(row(7), "offline 30 25");
}

TEST_P(Store, OfFetchesOfTheSameMillisecondTheLaterAppliedCounts) {
  store_->apply({answered(7, true, 0, 20)});
  store_->apply({answered(7, false, 0, 20)});
  EXPECT_EQ(row(7), "offline 0 20");
  store_->apply({answered(7, false, 0, 20), answered(7, true, 0, 20)});
  EXPECT_EQ(row(7), "online 0 20");
}

TEST_P(Store, GoneDeletesTheRowUnlessANewerAnswerIsThere) {
  store_->apply({answered(1, true, 10, 20), answered(2, true, 10, 20), answered(3, true, 10, 20)});
  store_->apply({gone(1, 30, 19), gone(2, 30, 20), gone(3, 30, 21), gone(4, 30, 20)});
  EXPECT_EQ(row(1), "online 30 20") << "it was named all the same";
  EXPECT_EQ(row(2), "none");
  EXPECT_EQ(row(3), "none");
  EXPECT_EQ(row(4), "none");
}

TEST_P(Store, NamedMovesLastSeenOfAnExistingRowOnly) {
  store_->apply({answered(7, true, 10, 20)});
  store_->apply({named(7, 30), named(8, 30)});
  EXPECT_EQ(row(7), "online 30 20");
  EXPECT_EQ(row(8), "none");
  store_->apply({named(7, 20)});
  EXPECT_EQ(row(7), "online 30 20");
}

TEST_P(Store, UpdatesOfOneIdInOneBatchCountAsIfAppliedOneByOne) {
  store_->apply({named(1, 50), answered(1, true, 10, 20), named(1, 30)});
  EXPECT_EQ(row(1), "online 30 20");
  store_->apply({answered(2, true, 10, 20), gone(2, 11, 21), answered(2, false, 5, 15)});
  EXPECT_EQ(row(2), "offline 5 15");
  store_->apply({answered(3, true, 10, 20), gone(3, 11, 19)});
  EXPECT_EQ(row(3), "online 11 20");
  store_->apply({gone(4, 10, 30), answered(4, true, 10, 20), gone(4, 10, 25)});
  EXPECT_EQ(row(4), "none");
}

// Every kind of sequence that small numbers make, as one batch and one by one.
TEST_P(Store, AnyBatchCountsAsIfAppliedOneByOne) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same sequences every time.
  const auto below = [&](int64_t end) { return static_cast<int64_t>(random() % end); };
  constexpr int64_t kSequences = 120;
  std::vector<ObjectUpdate> batch;
  for (int64_t i = 0; i < kSequences; ++i) {
    for (int64_t left = below(6); left >= 0; --left) {
      ObjectUpdate update{2 * i, static_cast<Kind>(below(3)), below(2) == 1, at(below(5)),
                          at(below(5))};
      store_->apply({update});
      update.id += 1;
      batch.push_back(update);
    }
  }
  // Sequences of different ids come mixed.
  std::vector<ObjectUpdate> mixed;
  for (size_t stride = 0; stride < 7; ++stride) {
    for (const auto& update : batch) {
      if (static_cast<size_t>(update.id / 2) % 7 == stride) mixed.push_back(update);
    }
  }
  store_->apply(mixed);
  for (int64_t i = 0; i < kSequences; ++i) EXPECT_EQ(row(2 * i), row(2 * i + 1)) << i;
}

TEST_P(Store, ApplyingAgainChangesNothing) {
  const std::vector<ObjectUpdate> batch = {answered(1, true, 10, 20), answered(2, false, 10, 20),
                                           named(1, 30), gone(2, 40, 10)};
  store_->apply(batch);
  store_->apply(batch);
  EXPECT_EQ(row(1), "online 30 20");
  EXPECT_EQ(row(2), "offline 40 20");
}

TEST_P(Store, ABatchMayBeEmptyOrLarge) {
  store_->apply({});
  std::vector<ObjectUpdate> batch;
  for (int64_t id = 20'000; id > 0; --id) batch.push_back(answered(id, id % 2 == 0, id, id));
  store_->apply(batch);
  EXPECT_EQ(row(1), "offline 1 1");
  EXPECT_EQ(row(20'000), "online 20000 20000");
  const auto counts = store_->counts();
  EXPECT_EQ(counts.online, 10'000U);
  EXPECT_EQ(counts.offline, 10'000U);
}

TEST_P(Store, ATimeThatCannotBeStoredIsPermanentAndNothingIsStored) {
  for (const int64_t millis : {kLeast, kMost, kLeast + 1, kMost - 1, int64_t{9'224'318'016'000'000},
                               int64_t{-210'866'803'200'001}}) {
    const auto extreme = from_unix_millis(millis);
    for (const Kind kind : {Kind::kAnswered, Kind::kGone, Kind::kNamed}) {
      EXPECT_THROW(store_->apply({answered(1, true, 0, 0), {2, kind, true, extreme, now_}}),
                   Permanent)
          << millis;
      if (kind == Kind::kNamed) continue;
      EXPECT_THROW(store_->apply({answered(1, true, 0, 0), {2, kind, true, now_, extreme}}),
                   Permanent)
          << millis;
    }
    EXPECT_THROW(store_->report({"p", WatermarkReport::Role::kWorker, extreme, false, {}}),
                 Permanent)
        << millis;
  }
  EXPECT_EQ(row(1), "none");
  EXPECT_THAT(store_->reports(), IsEmpty());
}

TEST_P(Store, TheEarliestAndTheLatestTimeAreTaken) {
  const auto first = from_unix_millis(-210'866'803'200'000);
  const auto last = from_unix_millis(9'224'318'015'999'999);
  store_->apply({{1, Kind::kAnswered, true, first, first}, {2, Kind::kAnswered, true, last, last}});
  EXPECT_EQ(store_->find(1)->last_seen, first);
  EXPECT_EQ(store_->find(1)->checked_at, first);
  EXPECT_GE(store_->find(2)->last_seen, now_);
  EXPECT_GE(store_->find(2)->checked_at, now_);
  store_->report({"p", WatermarkReport::Role::kWorker, last, false, {}});
  EXPECT_EQ(store_->reports().at(0).oldest, last);
}

TEST_P(Store, AConstraintIsPermanentAndTheStoreStaysUsable) {
  store_->apply({answered(1, true, 0, 0)});  // The table changes behind a prepared statement.
  if (GetParam() == Engine::kPostgres) {
    database_->execute("ALTER TABLE objects ADD CHECK (id <> 13)");
  } else {
    database_->execute(
        "CREATE TRIGGER t BEFORE INSERT ON objects WHEN NEW.id = 13"
        " BEGIN SELECT RAISE(ABORT, 'no 13'); END");
  }
  EXPECT_THROW(store_->apply({answered(12, true, 0, 0), answered(13, true, 0, 0)}), Permanent);
  EXPECT_EQ(row(12), "none");
  store_->apply({answered(12, true, 0, 0)});
  EXPECT_EQ(row(12), "online 0 0");
}

TEST_P(Store, ListsByIdInPages) {
  store_->apply({answered(3, true, 0, 0), answered(-5, false, 0, 0), answered(9, true, 1, 2),
                 answered(4, false, 0, 0)});
  EXPECT_THAT(ids({}, {}, 100), ElementsAre(-5, 3, 4, 9));
  EXPECT_THAT(ids({}, {}, 3), ElementsAre(-5, 3, 4));
  EXPECT_THAT(ids({}, 4, 3), ElementsAre(9));
  EXPECT_THAT(ids({}, 9, 3), IsEmpty());
  EXPECT_THAT(ids(true, {}, 100), ElementsAre(3, 9));
  EXPECT_THAT(ids(false, {}, 100), ElementsAre(-5, 4));
  EXPECT_THAT(ids(true, 3, 1), ElementsAre(9));
  EXPECT_THAT(ids({}, {}, 0), IsEmpty());
  EXPECT_THAT(ids({}, {}, std::numeric_limits<size_t>::max()), ElementsAre(-5, 3, 4, 9));
  const auto last = store_->list({}, 4, 1).at(0);
  EXPECT_TRUE(last.online);
  EXPECT_EQ(last.last_seen, at(1));
  EXPECT_EQ(last.checked_at, at(2));
}

TEST_P(Store, CountsNothingInAnEmptyTable) {
  EXPECT_EQ(store_->counts().online, 0U);
  EXPECT_EQ(store_->counts().offline, 0U);
}

TEST_P(Store, ExpiresWhatWasNotSeenForTheTtl) {
  store_->apply(
      {answered(1, true, 0, 59'000), answered(2, true, 29'000, 0), answered(3, true, 59'000, 0)});
  EXPECT_EQ(store_->expire({}, Millis(30'000), 100), 2U);
  EXPECT_THAT(ids({}, {}, 10), ElementsAre(3));
  EXPECT_EQ(store_->expire({}, Millis(30'000), 100), 0U);
}

TEST_P(Store, ExpiresAgainstTheWatermark) {
  store_->apply({answered(1, true, 9'999, 0), answered(2, true, 10'000, 0)});
  EXPECT_EQ(store_->expire(at(30'000), Millis(20'000), 100), 1U);
  EXPECT_THAT(ids({}, {}, 10), ElementsAre(2)) << "not older than the ttl, just as old";
  EXPECT_EQ(store_->expire(at(-3'600'000), Millis(1000), 100), 0U);
  EXPECT_EQ(store_->expire(now_ + std::chrono::hours(24), Millis(58'000), 100), 0U)
      << "a watermark in the future counts as now";
  EXPECT_EQ(row(2), "online 10000 0");
}

TEST_P(Store, ExpiresUpToTheLimitOldestFirst) {
  std::vector<ObjectUpdate> batch;
  for (int64_t id = 1; id <= 10; ++id) batch.push_back(answered(id, true, 100 - id, 0));
  store_->apply(batch);
  EXPECT_EQ(store_->expire({}, Millis(1000), 4), 4U);
  EXPECT_THAT(ids({}, {}, 10), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(store_->expire({}, Millis(1000), 4), 4U);
  EXPECT_EQ(store_->expire({}, Millis(1000), 4), 2U);
}

TEST_P(Store, NowIsTheTime) {
  EXPECT_LT(std::chrono::abs(store_->now() - unix_now()), Millis(5000));
  EXPECT_GE(store_->now(), now_);
}

TEST_P(Store, KeepsOneReportOfEachProcess) {
  using Role = WatermarkReport::Role;
  store_->report({"b", Role::kWorker, at(5), false, {}});
  store_->report({"a'\"\n", Role::kServer, {}, true, {}});
  store_->report({"b", Role::kServer, at(6), true, at(0)});
  auto reports = store_->reports();
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_EQ(reports[0].process, "a'\"\n");
  EXPECT_EQ(reports[0].role, Role::kServer);
  EXPECT_EQ(reports[0].oldest, std::nullopt);
  EXPECT_TRUE(reports[0].stopped);
  EXPECT_EQ(reports[1].process, "b");
  EXPECT_EQ(reports[1].role, Role::kServer);
  EXPECT_EQ(reports[1].oldest, at(6));
  EXPECT_GE(reports[1].reported_at, now_) << "the database's clock counts";
  EXPECT_LE(reports[1].reported_at, store_->now());
  store_->report({"b", Role::kWorker, {}, false, {}});
  reports = store_->reports();
  EXPECT_EQ(reports[1].role, Role::kWorker);
  EXPECT_EQ(reports[1].oldest, std::nullopt);
  EXPECT_FALSE(reports[1].stopped);
}

TEST_P(Store, ForgetsAProcess) {
  store_->report({"a", WatermarkReport::Role::kServer, {}, false, {}});
  store_->report({"b", WatermarkReport::Role::kServer, {}, false, {}});
  store_->forget("a");
  store_->forget("c");
  ASSERT_EQ(store_->reports().size(), 1U);
  EXPECT_EQ(store_->reports()[0].process, "b");
}

TEST_P(Store, NotMigratedSaysWhatToRunAndIsFoundMigratedLater) {
  const auto fresh = make_test_database(GetParam());
  const auto store = fresh->factory()();
  EXPECT_THAT(message_of<Transient>([&] { store->counts(); }),
              HasSubstr("the database is not migrated; run: postoffice migrate"));
  auto half = migrations_for(GetParam() == Engine::kPostgres ? "postgres" : "sqlite");
  half.pop_back();
  fresh->migrator(half)->migrate();
  EXPECT_THAT(message_of<Transient>([&] { store->apply({answered(1, true, 0, 0)}); }),
              HasSubstr("run: postoffice migrate"));
  fresh->migrator()->migrate();
  store->apply({answered(1, true, 0, 0)});
  EXPECT_TRUE(store->find(1));
}

TEST_P(Store, ANewerDatabaseIsTransientAndSaysSo) {
  auto more = migrations_for(GetParam() == Engine::kPostgres ? "postgres" : "sqlite");
  more.push_back(make_migration("0099_future", "CREATE TABLE future (id int)", "any"));
  more.back().version = static_cast<int>(more.size());
  database_->migrator(more)->migrate();
  const auto store = database_->factory()();
  EXPECT_THAT(message_of<Transient>([&] { store->counts(); }),
              HasSubstr("newer than this program: it has migration 0099_future"));
}

TEST_P(Store, AChangedMigrationIsTransientAndSaysSo) {
  database_->execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 2");
  const auto store = database_->factory()();
  EXPECT_THAT(message_of<Transient>([&] { store->counts(); }),
              HasSubstr("migration 0002_watermark_reports was changed since it was applied"));
}

TEST_P(Store, ATableThatIsGoneIsTransient) {
  database_->execute("DROP TABLE objects");
  EXPECT_THROW(store_->counts(), Transient);
  EXPECT_THROW(store_->apply({answered(1, true, 0, 0)}), Transient);
}

TEST_P(Store, DescribesWhereItIs) {
  if (GetParam() == Engine::kSqlite) {
    EXPECT_EQ(store_->description(), "SQLite at " + database_->data_dir() + "/postoffice.db");
  } else {
    EXPECT_THAT(store_->description(),
                testing::MatchesRegex("PostgreSQL [0-9.]+ at [^ ]+:[0-9]+/store_tests_[0-9_]+"));
  }
}

}  // namespace
}  // namespace postoffice::testing_store
