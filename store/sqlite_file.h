#pragma once

#include <string>
#include <vector>

#include "base/sqlite.h"
#include "store/schema.h"

namespace postoffice {

// <data_dir>/postoffice.db, short where it can be: "data/postoffice.db" for "./data".
std::string sqlite_path(const std::string& data_dir);

// Opens the file with `flags` so that what is committed is on disk and other processes' locks are
// waited for, 5 s at most. Throws SqliteError.
SqliteDatabase open_sqlite(const std::string& path, int flags);

// Sets the journal mode of the file for good; several processes may do so at once. Throws
// SqliteError.
void use_write_ahead_log(SqliteDatabase& database);

// What schema_migrations records, by version; nothing when there is no such table. Throws
// SqliteError.
std::vector<AppliedMigration> applied_migrations(SqliteDatabase& database);

}  // namespace postoffice
