#include "store/migration.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <utility>

namespace postoffice {
Migration make_migration(const std::string& name, std::string sql, std::string checksum) {
  Migration migration;
  const auto [rest, error] =
      std::from_chars(name.data(), name.data() + name.size(), migration.version);
  if (error != std::errc() || migration.version < 1 || rest == name.data() + name.size() ||
      *rest != '_') {
    throw std::logic_error("migration " + name + " is not named like 0001_objects");
  }
  migration.name = name;
  migration.checksum = std::move(checksum);
  migration.sql = std::move(sql);
  return migration;
}

std::vector<Migration> migrations_for(const std::string& database) {
  const std::string folder = database + "/";
  const std::string_view extension = ".sql";
  std::vector<Migration> migrations;
  for (auto& file : embedded_migrations()) {
    if (!file.path.starts_with(folder)) continue;
    const std::string name =
        file.path.substr(folder.size(), file.path.size() - folder.size() - extension.size());
    migrations.push_back(make_migration(name, std::move(file.sql), std::move(file.checksum)));
  }
  std::sort(migrations.begin(), migrations.end(),
            [](const auto& a, const auto& b) { return a.version < b.version; });
  for (size_t i = 0; i < migrations.size(); ++i) {
    if (migrations[i].version != static_cast<int>(i) + 1) {
      throw std::logic_error("migrations of " + database +
                             " are not numbered 1, 2, 3: " + migrations[i].name);
    }
  }
  return migrations;
}

}  // namespace postoffice
