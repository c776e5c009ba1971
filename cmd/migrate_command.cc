#include <spdlog/spdlog.h>

#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "cmd/commands.h"
#include "store/migration.h"
#include "store/store.h"

namespace postoffice {
namespace {

void print_status(Migrator& migrator) {
  for (const auto& migration : migrator.status()) {
    std::cout << migration.name << "  "
              << (migration.applied_at ? "applied " + *migration.applied_at
                                       : std::string("pending"))
              << "\n";
  }
}

}  // namespace

int run_migrate(const Config& config, bool status_only) {
  const auto stores =
      make_store_factory(config.database_url, config.data_dir, "postoffice migrate");
  spdlog::info("migrate: {}", stores()->description());
  const auto migrator = make_migrator(config.database_url, config.data_dir);
  try {
    if (status_only) {
      print_status(*migrator);
      return 0;
    }
    const auto applied = migrator->migrate();
    for (const auto& name : applied) spdlog::info("migrate: applied {}", name);
    if (applied.empty()) spdlog::info("migrate: the database is up to date");
    return 0;
  } catch (const Transient& error) {
    spdlog::error("migrate: {}", error.what());
  } catch (const Permanent& error) {
    spdlog::error("migrate: {}", error.what());
  }
  return 1;
}

}  // namespace postoffice
