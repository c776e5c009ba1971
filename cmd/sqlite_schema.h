#pragma once

#include "cmd/config.h"

namespace postoffice {

// With SQLite, serve and worker bring the schema up to date by themselves; with PostgreSQL this
// does nothing. A failure is logged and no reason not to start: callbacks are accepted without a
// database, and the store says what is wrong whenever it is used.
void migrate_if_sqlite(const Config& config);

}  // namespace postoffice
