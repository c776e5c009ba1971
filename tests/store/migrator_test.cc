#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <mutex>

#include "base/error.h"
#include "base/thread.h"
#include "store/migration.h"
#include "tests/store/test_database.h"

// What every migrator promises, on each engine.
namespace postoffice::testing_store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

Migration migration_of(const std::string& name, const std::string& sql) {
  return make_migration(name, sql, "checksum of " + sql);
}

const Migration kOne = migration_of("0001_one", "CREATE TABLE one (n int);");
const Migration kTwo =
    migration_of("0002_two", "CREATE TABLE two (n int); INSERT INTO two VALUES (1);");
const Migration kThree = migration_of("0003_three", "INSERT INTO two VALUES (2);\n-- Done.\n");

class MigratorOn : public testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    if (!has_engine(GetParam())) GTEST_SKIP() << "TEST_DATABASE_URL is not set";
    database_ = make_test_database(GetParam());
  }
  std::vector<std::string> migrate(const std::vector<Migration>& migrations) {
    return database_->migrator(migrations)->migrate();
  }
  std::string count(const std::string& table) {
    return database_->query("SELECT CAST(count(*) AS text) FROM " + table);
  }
  // How the status of each migration is shown: "name" or "name applied".
  std::vector<std::string> status(const std::vector<Migration>& migrations) {
    std::vector<std::string> lines;
    for (const auto& migration : database_->migrator(migrations)->status()) {
      lines.push_back(migration.name + (migration.applied_at ? " applied" : ""));
    }
    return lines;
  }
  std::unique_ptr<TestDatabase> database_;
};

INSTANTIATE_TEST_SUITE_P(Postgres, MigratorOn, testing::Values(Engine::kPostgres));
INSTANTIATE_TEST_SUITE_P(Sqlite, MigratorOn, testing::Values(Engine::kSqlite));

TEST_P(MigratorOn, AppliesWhatIsPendingInOrder) {
  EXPECT_THAT(migrate({kOne}), ElementsAre("0001_one"));
  EXPECT_THAT(migrate({kOne, kTwo, kThree}), ElementsAre("0002_two", "0003_three"));
  EXPECT_EQ(count("two"), "2");
}

TEST_P(MigratorOn, AppliedAgainDoesNothing) {
  migrate({kOne, kTwo, kThree});
  EXPECT_THAT(migrate({kOne, kTwo, kThree}), IsEmpty());
  EXPECT_EQ(count("two"), "2");
}

TEST_P(MigratorOn, StatusTellsWhatIsPendingAndWhenTheRestWasApplied) {
  EXPECT_THAT(status({kOne, kTwo}), ElementsAre("0001_one", "0002_two"));
  migrate({kOne});
  EXPECT_THAT(status({kOne, kTwo}), ElementsAre("0001_one applied", "0002_two"));
  const auto listed = database_->migrator({{kOne, kTwo}})->status();
  EXPECT_EQ(listed[0].version, 1);
  EXPECT_EQ(listed[1].version, 2);
  EXPECT_THAT(*listed[0].applied_at,
              MatchesRegex("20[0-9-]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9][0-9][0-9]Z"));
  const auto now = format_rfc3339(unix_now() + Millis(5000));
  EXPECT_LT(*listed[0].applied_at, now);
  EXPECT_GT(*listed[0].applied_at, format_rfc3339(unix_now() - Millis(60'000)));
}

TEST_P(MigratorOn, SeveralAtOnceApplyEachMigrationOnce) {
  std::mutex mutex;
  std::vector<std::string> applied;
  std::vector<Thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back("migrate", [&] {
      try {
        const auto names = migrate({kOne, kTwo, kThree});
        const std::lock_guard lock(mutex);
        applied.insert(applied.end(), names.begin(), names.end());
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(applied, testing::UnorderedElementsAre("0001_one", "0002_two", "0003_three"));
  EXPECT_EQ(count("two"), "2");
}

TEST_P(MigratorOn, RefusesADatabaseThatIsNewer) {
  migrate({kOne, kTwo, kThree});
  EXPECT_THAT(message_of<Permanent>([&] {
                migrate({kOne, kTwo});
              }),
              HasSubstr("newer than this program: it has migration 0003_three"));
  EXPECT_THAT(status({kOne, kTwo}),
              ElementsAre("0001_one applied", "0002_two applied", "0003_three applied"));
}

TEST_P(MigratorOn, RefusesAMigrationThatWasChangedSinceItWasApplied) {
  migrate({kOne});
  const auto changed = migration_of("0001_one", kOne.sql + " ");
  EXPECT_THAT(message_of<Permanent>([&] {
                migrate({changed, kTwo});
              }),
              HasSubstr("migration 0001_one was changed since it was applied"));
  EXPECT_THAT(status({changed, kTwo}), ElementsAre("0001_one applied", "0002_two"));
}

TEST_P(MigratorOn, AFailingMigrationLeavesNothingOfItself) {
  const auto failing =
      migration_of("0002_two",
                   "CREATE TABLE two (n int); INSERT INTO one VALUES (1); INSERT INTO nowhere "
                   "VALUES (1); CREATE TABLE three (n int);");
  const auto message = message_of<Permanent>([&] { migrate({kOne, failing, kThree}); });
  EXPECT_THAT(message, HasSubstr("migration 0002_two failed, nothing of it was applied"));
  EXPECT_THAT(message, HasSubstr("nowhere"));
  EXPECT_THAT(status({kOne, failing, kThree}),
              ElementsAre("0001_one applied", "0002_two", "0003_three"));
  EXPECT_EQ(count("one"), "0");
  EXPECT_ANY_THROW(count("two"));
  EXPECT_ANY_THROW(count("three"));
  EXPECT_THAT(migrate({kOne, kTwo, kThree}), ElementsAre("0002_two", "0003_three"));
}

TEST_P(MigratorOn, TheProductsOwnMigrationsMakeTheTablesThatUsersSee) {
  const auto names = database_->migrator()->migrate();
  EXPECT_THAT(names, ElementsAre("0001_objects", "0002_watermark_reports"));
  database_->execute("SELECT id, online, last_seen, checked_at FROM objects");
  database_->execute("SELECT process, role, oldest, stopped, reported_at FROM watermark_reports");
  database_->execute("SELECT version, name, checksum, applied_at FROM schema_migrations");
  EXPECT_EQ(database_->query("SELECT checksum FROM schema_migrations WHERE version = 1"),
            migrations_for(GetParam() == Engine::kPostgres ? "postgres" : "sqlite")[0].checksum);
}

TEST_P(MigratorOn, ATableOfAnotherProgramIsPermanent) {
  database_->execute("CREATE TABLE schema_migrations (version text, dirty boolean)");
  EXPECT_THROW(migrate({kOne}), Permanent);
}

TEST(SqliteMigrator, StatusCreatesNoFile) {
  const auto database = make_test_database(Engine::kSqlite);
  EXPECT_EQ(database->migrator({{kOne}})->status().size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(database->data_dir()));
}

TEST(SqliteMigrator, AFolderThatCannotBeIsTransientAndNamed) {
  const auto database = make_test_database(Engine::kSqlite);
  std::ofstream(database->data_dir()) << "a file";
  EXPECT_THAT(message_of<Transient>([&] { database->migrator()->migrate(); }),
              HasSubstr("DATA_DIR " + database->data_dir() + " cannot be created"));
}

TEST(SqliteMigrator, AFileThatIsNoDatabaseIsPermanent) {
  const auto database = make_test_database(Engine::kSqlite);
  std::filesystem::create_directory(database->data_dir());
  std::ofstream(database->data_dir() + "/postoffice.db") << std::string(5000, 'x');
  EXPECT_THROW(database->migrator()->migrate(), Permanent);
  EXPECT_THROW(database->factory()()->counts(), Transient);
}

TEST(MigratorPostgres, AServerThatIsAwayIsTransient) {
  // Port 1 refuses.
  const auto migrator = make_migrator("postgres://u:secret@127.0.0.1:1/db", "unused");
  const auto message = message_of<Transient>([&] { migrator->migrate(); });
  EXPECT_THAT(message, HasSubstr("127.0.0.1:1/db"));
  EXPECT_THAT(message, testing::Not(HasSubstr("secret")));
  EXPECT_THROW(migrator->status(), Transient);
}

}  // namespace
}  // namespace postoffice::testing_store
