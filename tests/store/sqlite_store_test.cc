#include "store/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "tests/store/test_database.h"

// What only SQLite can do to a store.
namespace postoffice::testing_store {
namespace {

using Kind = ObjectUpdate::Kind;
using testing::HasSubstr;

class StoreSqlite : public testing::Test {
 protected:
  void SetUp() override { database_->migrator()->migrate(); }

  const std::unique_ptr<TestDatabase> database_ = make_test_database(Engine::kSqlite);
};

TEST_F(StoreSqlite, UsesTheWriteAheadLog) {
  EXPECT_EQ(database_->query("PRAGMA journal_mode"), "wal");
}

TEST_F(StoreSqlite, AWriterThatHoldsTheLockTooLongIsTransientAndReadersGoOn) {
  const auto store = database_->factory()();
  store->apply({{1, Kind::kAnswered, true, unix_now(), unix_now()}});
  database_->execute("BEGIN IMMEDIATE");
  database_->execute("DELETE FROM objects");
  EXPECT_TRUE(store->find(1));
  const auto start = SteadyClock::now();
  EXPECT_THROW(store->forget("p"), Transient);
  EXPECT_GE(SteadyClock::now() - start, Millis(4900));
  database_->execute("ROLLBACK");
  store->forget("p");
}

TEST_F(StoreSqlite, AFolderThatIsGoneIsNotMigrated) {
  std::filesystem::remove_all(database_->data_dir());
  const auto store = database_->factory()();
  EXPECT_THAT(message_of<Transient>([&] { store->now(); }), HasSubstr("run: postoffice migrate"));
  EXPECT_FALSE(std::filesystem::exists(database_->data_dir())) << "a store creates nothing";
}

TEST_F(StoreSqlite, IsDescribedByItsAbsolutePath) {
  EXPECT_EQ(make_store_factory("", "./data", "name")()->description(),
            "SQLite at " + (std::filesystem::current_path() / "data/postoffice.db").string());
}

}  // namespace
}  // namespace postoffice::testing_store
