#include "store/postgres_result.h"

#include <chrono>

#include "base/error.h"
#include "store/postgres_types.h"

namespace postoffice {

int64_t PostgresResult::integer(int row, int column) const { return big_endian(row, column, 8); }

bool PostgresResult::boolean(int row, int column) const { return big_endian(row, column, 1) != 0; }

UnixTime PostgresResult::time(int row, int column) const {
  const std::chrono::microseconds micros(big_endian(row, column, 8));
  return from_unix_millis(std::chrono::floor<Millis>(micros).count() + kPostgresEpochMillis);
}

std::string PostgresResult::text(int row, int column) const {
  return {PQgetvalue(handle(), row, column),
          static_cast<size_t>(PQgetlength(handle(), row, column))};
}

int64_t PostgresResult::big_endian(int row, int column, int bytes) const {
  if (row >= rows() || column >= PQnfields(handle()) ||
      PQgetlength(handle(), row, column) != bytes) {
    throw Transient("PostgreSQL: column " + std::to_string(column) + " has an unexpected type");
  }
  const char* value = PQgetvalue(handle(), row, column);
  uint64_t number = 0;
  for (int i = 0; i < bytes; ++i) number = number << 8 | static_cast<unsigned char>(value[i]);
  return static_cast<int64_t>(number);
}

}  // namespace postoffice
