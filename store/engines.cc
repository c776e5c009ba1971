#include <utility>

#include "store/migration.h"
#include "store/postgres_address.h"
#include "store/postgres_migrator.h"
#include "store/postgres_store.h"
#include "store/sqlite_migrator.h"
#include "store/sqlite_store.h"
#include "store/store.h"

namespace postoffice {

StoreFactory make_store_factory(const std::string& database_url, const std::string& data_dir,
                                const std::string& name) {
  if (database_url.empty()) {
    return [data_dir, migrations = migrations_for("sqlite")] {
      return std::make_unique<SqliteStore>(data_dir, migrations);
    };
  }
  PostgresStore::Options options;
  options.name = name;
  options.migrations = migrations_for("postgres");
  return [address = PostgresAddress(database_url), options = std::move(options)] {
    return std::make_unique<PostgresStore>(address, options);
  };
}

std::unique_ptr<Migrator> make_migrator(const std::string& database_url,
                                        const std::string& data_dir,
                                        std::optional<std::vector<Migration>> migrations) {
  if (database_url.empty()) {
    if (!migrations) migrations = migrations_for("sqlite");
    return std::make_unique<SqliteMigrator>(data_dir, std::move(*migrations));
  }
  if (!migrations) migrations = migrations_for("postgres");
  return std::make_unique<PostgresMigrator>(PostgresAddress(database_url), std::move(*migrations));
}

}  // namespace postoffice
