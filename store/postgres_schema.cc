#include "store/postgres_schema.h"

#include "store/postgres_error.h"

namespace postoffice {

std::vector<AppliedMigration> applied_migrations(PostgresConnection& connection,
                                                 PostgresConnection::Deadline deadline) {
  PostgresResult result;
  try {
    result = connection.execute(
        "SELECT version::bigint, name, checksum, applied_at FROM schema_migrations"
        " ORDER BY version",
        {}, deadline);
  } catch (const PostgresError& error) {
    if (!error.is_undefined_table()) throw;
    return {};
  }
  std::vector<AppliedMigration> applied;
  applied.reserve(static_cast<size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) {
    applied.push_back({static_cast<int>(result.integer(row, 0)), result.text(row, 1),
                       result.text(row, 2), result.time(row, 3)});
  }
  return applied;
}

}  // namespace postoffice
