#include "store/migration.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <iomanip>
#include <sstream>
#include <stdexcept>

namespace postoffice {
namespace {

std::string sha256_hex(const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::ostringstream hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex << std::hex << std::setw(2) << std::setfill('0') << int{digest.at(i)};
  }
  return hex.str();
}

TEST(Migration, HasTheVersionOfItsName) {
  const auto migration = make_migration("0012_more_columns", "abc", "sum");
  EXPECT_EQ(migration.version, 12);
  EXPECT_EQ(migration.name, "0012_more_columns");
}

// Databases hold these: they must be the same from whichever build.
TEST(Migration, HasTheSha256OfItsSql) {
  for (const char* database : {"postgres", "sqlite"}) {
    for (const auto& migration : migrations_for(database)) {
      EXPECT_EQ(migration.checksum, sha256_hex(migration.sql)) << migration.name;
    }
  }
}

TEST(Migration, NeedsANumberInItsName) {
  for (const char* name : {"objects", "0000_objects", "0001", "1-objects", ""}) {
    EXPECT_THROW(make_migration(name, "", ""), std::logic_error) << name;
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
