#pragma once

#include <vector>

#include "store/postgres_connection.h"
#include "store/schema.h"

namespace postoffice {

// What schema_migrations records, by version; nothing when there is no such table. Throws
// PostgresError.
std::vector<AppliedMigration> applied_migrations(PostgresConnection& connection,
                                                 PostgresConnection::Deadline deadline);

}  // namespace postoffice
