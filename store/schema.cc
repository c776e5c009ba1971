#include "store/schema.h"

#include <algorithm>

#include "base/error.h"

namespace postoffice {

std::optional<std::string> schema_conflict(const std::vector<Migration>& known,
                                           const std::vector<AppliedMigration>& applied) {
  for (size_t i = 0; i < applied.size(); ++i) {
    if (i >= known.size()) {
      return "the database is newer than this program: it has migration " + applied[i].name +
             ", which this program does not know; install the newer program";
    }
    if (applied[i].version != known[i].version || applied[i].checksum != known[i].checksum) {
      return "migration " + known[i].name + " was changed since it was applied as " +
             applied[i].name + "; undo the change and write a new migration instead";
    }
  }
  return std::nullopt;
}

std::optional<std::string> schema_trouble(const std::vector<Migration>& known,
                                          const std::vector<AppliedMigration>& applied) {
  if (auto conflict = schema_conflict(known, applied)) return conflict;
  if (applied.size() < known.size()) {
    return "the database is not migrated; run: postoffice migrate";
  }
  return std::nullopt;
}

const Migration* next_migration(const std::vector<Migration>& known,
                                const std::vector<AppliedMigration>& applied) {
  if (const auto conflict = schema_conflict(known, applied)) throw Permanent(*conflict);
  return applied.size() < known.size() ? &known[applied.size()] : nullptr;
}

std::vector<MigrationStatus> migration_status(const std::vector<Migration>& known,
                                              const std::vector<AppliedMigration>& applied) {
  std::vector<MigrationStatus> status;
  status.reserve(std::max(known.size(), applied.size()));
  for (const auto& migration : applied) {
    status.push_back({migration.version, migration.name, format_rfc3339(migration.applied_at)});
  }
  for (size_t i = std::min(known.size(), applied.size()); i < known.size(); ++i) {
    status.push_back({known[i].version, known[i].name, std::nullopt});
  }
  return status;
}

}  // namespace postoffice
