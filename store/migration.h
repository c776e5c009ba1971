#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace postoffice {

// A file of migrations/, embedded at build time by cmake/migrations.cmake.
struct EmbeddedMigration {
  std::string path;  // "postgres/0001_objects.sql"
  std::string sql;
  std::string checksum;  // SHA-256 of `sql`, hexadecimal.
};
std::vector<EmbeddedMigration> embedded_migrations();

struct Migration {
  int version = 0;
  std::string name;  // "0001_objects"
  std::string sql;
  std::string checksum;  // Of `sql`: another one is another migration.
};

// `name` starts with the version: 0001_objects. Throws std::logic_error when it does not.
Migration make_migration(const std::string& name, std::string sql, std::string checksum);

// The migrations of one database kind, "postgres" or "sqlite", by version: 1, 2, 3 and so on
// without a gap.
std::vector<Migration> migrations_for(const std::string& database);

struct MigrationStatus {
  int version = 0;
  std::string name;
  std::optional<std::string> applied_at;  // RFC 3339; nothing: pending.
};

// Applies migrations, recorded in table schema_migrations(version, name, checksum, applied_at).
// Safe when two run at once. Not thread-safe.
class Migrator {
 public:
  virtual ~Migrator() = default;

  // Applies what is pending and returns its names; none when the schema is up to date. Throws
  // Permanent when the database is newer than this program, when an applied migration was changed
  // since (saying which), or when one fails; Transient when the database is away.
  virtual std::vector<std::string> migrate() = 0;
  virtual std::vector<MigrationStatus> status() = 0;
};

// As make_store_factory. Tests pass migrations of their own.
std::unique_ptr<Migrator> make_migrator(
    const std::string& database_url, const std::string& data_dir,
    std::optional<std::vector<Migration>> migrations = std::nullopt);

}  // namespace postoffice
