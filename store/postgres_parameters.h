#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace postoffice {

// Parameters of one statement, $1 onwards, in PostgreSQL's binary format: exact, and independent of
// time zones and date styles. A time beyond what PostgreSQL can hold is refused by it with SQLSTATE
// 22008.
class PostgresParameters {
 public:
  PostgresParameters& add(int64_t value);
  PostgresParameters& add(bool value);
  PostgresParameters& add(UnixTime value);
  PostgresParameters& add(std::optional<UnixTime> value);
  PostgresParameters& add(std::string_view value);
  PostgresParameters& add(const char* value) { return add(std::string_view(value)); }
  PostgresParameters& add(const std::vector<int64_t>& values);
  PostgresParameters& add(const std::vector<bool>& values);
  PostgresParameters& add(const std::vector<UnixTime>& values);

  int count() const { return static_cast<int>(types_.size()); }
  const Oid* types() const { return types_.data(); }
  // One for each parameter, valid until the next add().
  std::vector<const char*> values() const;
  std::vector<int> lengths() const;

 private:
  PostgresParameters& add(Oid type, std::optional<std::string> bytes);

  std::vector<Oid> types_;
  std::vector<std::optional<std::string>> bytes_;  // Nothing: NULL.
};

}  // namespace postoffice
