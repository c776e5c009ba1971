#include "store/migration.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace postoffice {
namespace {

TEST(Migration, HasTheSha256OfItsSqlAndTheVersionOfItsName) {
  const auto migration = make_migration("0012_more_columns", "abc");
  EXPECT_EQ(migration.version, 12);
  EXPECT_EQ(migration.name, "0012_more_columns");
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(migration.checksum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Migration, NeedsANumberInItsName) {
  for (const char* name : {"objects", "0000_objects", "0001", "1-objects", ""}) {
    EXPECT_THROW(make_migration(name, ""), std::logic_error) << name;
  }
}

TEST(Migration, EveryDatabaseHasTheSameOnesInOrder) {
  const auto postgres = migrations_for("postgres");
  const auto sqlite = migrations_for("sqlite");
  ASSERT_FALSE(postgres.empty());
  ASSERT_EQ(postgres.size(), sqlite.size());
  for (size_t i = 0; i < postgres.size(); ++i) {
    EXPECT_EQ(postgres[i].version, static_cast<int>(i) + 1);
    EXPECT_EQ(postgres[i].name, sqlite[i].name);
    EXPECT_NE(postgres[i].checksum, sqlite[i].checksum);
  }
}

}  // namespace
}  // namespace postoffice
