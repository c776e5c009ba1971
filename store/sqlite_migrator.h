#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/sqlite.h"
#include "store/migration.h"

namespace postoffice {

// Creates the folder and the file. Each migration is a transaction of its own that takes the write
// lock first: of two migrators, one waits for the other, 5 s at most.
class SqliteMigrator final : public Migrator {
 public:
  SqliteMigrator(const std::string& data_dir, std::vector<Migration> migrations);

  std::vector<std::string> migrate() override;
  std::vector<MigrationStatus> status() override;

 private:
  std::optional<std::string> apply_next(SqliteDatabase& database) const;
  static void apply(SqliteDatabase& database, const Migration& migration);
  [[noreturn]] void rethrow(const SqliteError& error) const;

  const std::string path_;
  const std::vector<Migration> migrations_;
};

}  // namespace postoffice
