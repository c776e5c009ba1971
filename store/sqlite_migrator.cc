#include "store/sqlite_migrator.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "store/schema.h"
#include "store/sqlite_file.h"

namespace postoffice {
namespace {

// Time passes or somebody acts, and the same statement succeeds.
bool is_of_circumstances(const SqliteError& error) {
  switch (error.primary_code()) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
      return true;
    default:
      return false;
  }
}

}  // namespace

SqliteMigrator::SqliteMigrator(const std::string& data_dir, std::vector<Migration> migrations)
    : path_(sqlite_path(data_dir)), migrations_(std::move(migrations)) {}

std::vector<std::string> SqliteMigrator::migrate() {
  std::error_code error;
  const auto folder = std::filesystem::path(path_).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) {
    throw Transient("DATA_DIR " + folder.string() + " cannot be created: " + error.message());
  }
  std::vector<std::string> names;
  try {
    auto database = open_sqlite(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    use_write_ahead_log(database);
    while (auto name = apply_next(database)) names.push_back(std::move(*name));
  } catch (const SqliteError& refused) {
    rethrow(refused);
  }
  return names;
}

std::vector<MigrationStatus> SqliteMigrator::status() {
  std::vector<AppliedMigration> applied;
  try {
    auto database = open_sqlite(path_, SQLITE_OPEN_READWRITE);
    applied = applied_migrations(database);
  } catch (const SqliteError& refused) {
    if (refused.system_errno() != ENOENT) rethrow(refused);
  }
  return migration_status(migrations_, applied);
}

std::optional<std::string> SqliteMigrator::apply_next(SqliteDatabase& database) const {
  // Most often there is nothing to do: that is found out without waiting for who writes.
  if (next_migration(migrations_, applied_migrations(database)) == nullptr) return std::nullopt;
  SqliteTransaction transaction(database);
  database.exec(
      "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY,"
      " name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT");
  const auto* const next = next_migration(migrations_, applied_migrations(database));
  if (next != nullptr) apply(database, *next);
  transaction.commit();
  if (next == nullptr) return std::nullopt;
  return next->name;
}

void SqliteMigrator::apply(SqliteDatabase& database, const Migration& migration) {
  try {
    database.exec(migration.sql);
  } catch (const SqliteError& error) {
    if (is_of_circumstances(error)) throw;
    throw Permanent("migration " + migration.name +
                    " failed, nothing of it was applied: " + error.what());
  }
  auto record = database.prepare("INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4)");
  record.bind(1, int64_t{migration.version}).bind(2, migration.name).bind(3, migration.checksum);
  record.bind(4, to_unix_millis(unix_now())).run();
}

void SqliteMigrator::rethrow(const SqliteError& error) const {
  const std::string what = "SQLite at " + path_ + ": " + error.what();
  if (is_of_circumstances(error)) throw Transient(what);
  throw Permanent(what);
}

}  // namespace postoffice
