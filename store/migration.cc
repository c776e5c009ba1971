#include "store/migration.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

namespace postoffice {
namespace {

std::string sha256_hex(const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 is not available in OpenSSL");
  }
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    constexpr const char* kDigits = "0123456789abcdef";
    hex += kDigits[digest.at(i) >> 4];
    hex += kDigits[digest.at(i) & 15];
  }
  return hex;
}

}  // namespace

Migration make_migration(const std::string& name, std::string sql) {
  Migration migration;
  const auto [rest, error] =
      std::from_chars(name.data(), name.data() + name.size(), migration.version);
  if (error != std::errc() || migration.version < 1 || rest == name.data() + name.size() ||
      *rest != '_') {
    throw std::logic_error("migration " + name + " is not named like 0001_objects");
  }
  migration.name = name;
  migration.checksum = sha256_hex(sql);
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
    migrations.push_back(make_migration(name, std::move(file.sql)));
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
