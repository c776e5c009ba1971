#include "store/postgres_migrator.h"

#include <utility>

#include "base/error.h"
#include "store/postgres_error.h"
#include "store/postgres_schema.h"
#include "store/schema.h"

namespace postoffice {
namespace {

constexpr Millis kLongestStatement = std::chrono::minutes(10);

PostgresConnection::Deadline deadline() { return SteadyClock::now() + kLongestStatement; }

// One lock for each schema: several Postoffices may share a database.
constexpr const char* kLock =
    "SELECT pg_advisory_xact_lock(1347375691, hashtext(current_schema()))";

constexpr const char* kCreateTable =
    "CREATE TABLE IF NOT EXISTS schema_migrations ("
    "version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
    " applied_at timestamptz NOT NULL)";

constexpr const char* kRecord =
    "INSERT INTO schema_migrations (version, name, checksum, applied_at)"
    " VALUES ($1, $2, $3, now())";

}  // namespace

PostgresMigrator::PostgresMigrator(PostgresAddress address, std::vector<Migration> migrations)
    : address_(std::move(address)), migrations_(std::move(migrations)) {}

std::vector<std::string> PostgresMigrator::migrate() {
  std::vector<std::string> names;
  try {
    auto connection = connect();
    while (auto name = apply_next(connection)) names.push_back(std::move(*name));
  } catch (const PostgresError& error) {
    rethrow(error);
  }
  return names;
}

std::vector<MigrationStatus> PostgresMigrator::status() {
  try {
    auto connection = connect();
    return migration_status(migrations_, applied_migrations(connection, deadline()));
  } catch (const PostgresError& error) {
    rethrow(error);
  }
}

PostgresConnection PostgresMigrator::connect() const {
  return {address_, "postoffice migrate", kLongestStatement};
}

// What is thrown closes the connection, which rolls back.
std::optional<std::string> PostgresMigrator::apply_next(PostgresConnection& connection) const {
  connection.execute_script("BEGIN ISOLATION LEVEL READ COMMITTED", deadline());
  connection.execute(kLock, {}, deadline());
  connection.execute_script(kCreateTable, deadline());
  const auto* const next = next_migration(migrations_, applied_migrations(connection, deadline()));
  if (next != nullptr) apply(connection, *next);
  connection.execute_script("COMMIT", deadline());
  if (next == nullptr) return std::nullopt;
  return next->name;
}

void PostgresMigrator::apply(PostgresConnection& connection, const Migration& migration) const {
  try {
    connection.execute_script(migration.sql, deadline());
  } catch (const PostgresError& error) {
    if (error.is_of_circumstances()) throw;
    throw Permanent("migration " + migration.name +
                    " failed, nothing of it was applied: " + error.what());
  }
  connection.execute(kRecord,
                     PostgresParameters()
                         .add(int64_t{migration.version})
                         .add(migration.name)
                         .add(migration.checksum),
                     deadline());
}

void PostgresMigrator::rethrow(const PostgresError& error) const {
  const std::string what = "PostgreSQL at " + address_.shown() + ": " + error.what();
  if (error.is_of_circumstances()) throw Transient(what);
  throw Permanent(what);
}

}  // namespace postoffice
