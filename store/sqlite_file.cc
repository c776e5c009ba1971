#include "store/sqlite_file.h"

#include <filesystem>
#include <thread>

namespace postoffice {
namespace {

constexpr Millis kBusyTimeout{5000};

}  // namespace

std::string sqlite_path(const std::string& data_dir) {
  const auto path = std::filesystem::path(data_dir) / "postoffice.db";
  return std::filesystem::absolute(path).lexically_normal().string();
}

SqliteDatabase open_sqlite(const std::string& path, int flags) {
  SqliteDatabase database(path, flags);
  database.set_busy_timeout(kBusyTimeout);
  // Of the connection; the journal mode, WAL, is of the file, and set when it is migrated.
  database.exec("PRAGMA synchronous = FULL");
  return database;
}

void use_write_ahead_log(SqliteDatabase& database) {
  const auto deadline = SteadyClock::now() + kBusyTimeout;
  for (;;) {
    try {
      database.exec("PRAGMA journal_mode = WAL");
      return;
    } catch (const SqliteError& error) {
      // Of several connections that change the mode at once, all but one are refused at once,
      // whatever the busy timeout.
      if (error.primary_code() != SQLITE_BUSY || SteadyClock::now() >= deadline) throw;
      std::this_thread::sleep_for(Millis(2));
    }
  }
}

std::vector<AppliedMigration> applied_migrations(SqliteDatabase& database) {
  if (database.query_integer(
          "SELECT count(*) FROM sqlite_master WHERE name = 'schema_migrations'") == 0) {
    return {};
  }
  auto select = database.prepare(
      "SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version");
  std::vector<AppliedMigration> applied;
  while (select.step()) {
    applied.push_back({static_cast<int>(select.integer(0)), std::string(select.text(1)),
                       std::string(select.text(2)), from_unix_millis(select.integer(3))});
  }
  return applied;
}

}  // namespace postoffice
