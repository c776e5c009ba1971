#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "store/migration.h"

namespace postoffice {

// A row of schema_migrations.
struct AppliedMigration {
  int version = 0;
  std::string name;
  std::string checksum;
  UnixTime applied_at;
};

// Below, `known` are the migrations of this program and `applied` those recorded in the database,
// both by version.

// Why this program must not touch the database, when it is newer than the program or a migration
// was changed after it was applied.
std::optional<std::string> schema_conflict(const std::vector<Migration>& known,
                                           const std::vector<AppliedMigration>& applied);

// For a store: the conflict, or that the database is not migrated (as far as this program needs).
std::optional<std::string> schema_trouble(const std::vector<Migration>& known,
                                          const std::vector<AppliedMigration>& applied);

// For a migrator: the next one to apply; nullptr when there is none. Throws Permanent on a
// conflict.
const Migration* next_migration(const std::vector<Migration>& known,
                                const std::vector<AppliedMigration>& applied);

// All that are known or applied.
std::vector<MigrationStatus> migration_status(const std::vector<Migration>& known,
                                              const std::vector<AppliedMigration>& applied);

}  // namespace postoffice
