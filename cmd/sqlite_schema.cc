#include "cmd/sqlite_schema.h"

#include <spdlog/spdlog.h>

#include "store/migration.h"

namespace postoffice {

void migrate_if_sqlite(const Config& config) {
  if (!config.database_url.empty()) return;
  try {
    for (const auto& name : make_migrator("", config.data_dir)->migrate()) {
      spdlog::info("database: applied {}", name);
    }
  } catch (const std::exception& error) {
    spdlog::error("database: {}", error.what());
  }
}

}  // namespace postoffice
