#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/migration.h"
#include "store/postgres_address.h"
#include "store/postgres_connection.h"

namespace postoffice {

// Each migration is a transaction of its own, and holds a transaction-level advisory lock: of two
// migrators, one waits for the other. Migrations may take up to 10 minutes each.
class PostgresMigrator final : public Migrator {
 public:
  PostgresMigrator(PostgresAddress address, std::vector<Migration> migrations);

  std::vector<std::string> migrate() override;
  std::vector<MigrationStatus> status() override;

 private:
  PostgresConnection connect() const;
  std::optional<std::string> apply_next(PostgresConnection& connection) const;
  void apply(PostgresConnection& connection, const Migration& migration) const;
  [[noreturn]] void rethrow(const class PostgresError& error) const;

  const PostgresAddress address_;
  const std::vector<Migration> migrations_;
};

}  // namespace postoffice
