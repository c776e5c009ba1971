#include "store/postgres_store.h"

#include <utility>

#include "base/error.h"
#include "store/column_values.h"
#include "store/postgres_error.h"
#include "store/postgres_schema.h"
#include "store/schema.h"

namespace postoffice {
namespace {

// What is stored has whole milliseconds, as all that is read and sent.
#define NOW "date_trunc('milliseconds', now())"

// unnest() gives the rows in the order of the arrays, and they are written in it.
constexpr const char* kUpsert =
    "INSERT INTO objects (id, online, last_seen, checked_at)"
    " SELECT id, online, LEAST(received_at, " NOW "), LEAST(checked_at, " NOW
    ")"
    " FROM unnest($1, $2, $3, $4) AS update (id, received_at, online, checked_at)"
    " ON CONFLICT (id) DO UPDATE SET"
    " last_seen = GREATEST(objects.last_seen, excluded.last_seen),"
    " online = CASE WHEN excluded.checked_at >= objects.checked_at"
    " THEN excluded.online ELSE objects.online END,"
    " checked_at = GREATEST(objects.checked_at, excluded.checked_at)";

// A join writes in whatever order its plan has, so the rows are locked in the order of ids before.
#define LOCKED_ROWS                                                                          \
  "WITH locked AS MATERIALIZED (SELECT id FROM objects WHERE id = ANY ($1) ORDER BY id FOR " \
  "UPDATE)"

constexpr const char* kMoveLastSeen =
    LOCKED_ROWS " UPDATE objects SET last_seen = LEAST(update.received_at, " NOW
                ") FROM locked JOIN unnest($1, $2) AS update (id, received_at) USING (id)"
                " WHERE objects.id = locked.id"
                " AND objects.last_seen < LEAST(update.received_at, " NOW ")";

constexpr const char* kDeleteGone = LOCKED_ROWS
    " DELETE FROM objects USING locked JOIN unnest($1, $2) AS update (id, checked_at) USING (id)"
    " WHERE objects.id = locked.id AND objects.checked_at <= LEAST(update.checked_at, " NOW ")";

// The advisory lock, one for each objects table, is held until the statement has committed. The
// rows are deleted by ctid because a join by id lets the planner hash the whole table when it has
// no statistics yet (measured, 1M rows: 320 ms instead of 10 for 5,000). All are locked before the
// first is deleted. A row that moved meanwhile is left for the next call.
constexpr const char* kExpire =
    "WITH mine AS MATERIALIZED"
    " (SELECT pg_try_advisory_xact_lock(1347375702, 'objects'::regclass::oid::int) AS locked),"
    " deleted AS (DELETE FROM objects WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM objects WHERE (SELECT locked FROM mine)"
    " AND last_seen < LEAST($1, now()) - $2 * interval '1 millisecond'"
    " ORDER BY last_seen LIMIT $3 FOR UPDATE SKIP LOCKED))"
    " AND last_seen < LEAST($1, now()) - $2 * interval '1 millisecond'"
    " RETURNING 1)"
    " SELECT (SELECT locked FROM mine), (SELECT count(*) FROM deleted)";

constexpr const char* kReport =
    "INSERT INTO watermark_reports (process, role, oldest, stopped, reported_at)"
    " VALUES ($1, $2, $3, $4, " NOW
    ") ON CONFLICT (process) DO UPDATE SET role = excluded.role, oldest = excluded.oldest,"
    " stopped = excluded.stopped, reported_at = excluded.reported_at";

#undef LOCKED_ROWS
#undef NOW

ObjectRow row_of(const PostgresResult& result, int row) {
  return {result.integer(row, 0), result.boolean(row, 1), result.time(row, 2), result.time(row, 3)};
}

}  // namespace

PostgresStore::PostgresStore(PostgresAddress address, Options options)
    : address_(std::move(address)), options_(std::move(options)) {}

template <typename Body>
auto PostgresStore::with_connection(Body body) {
  try {
    if (connection_ && !connection_->is_open()) connection_.reset();
    if (!connection_) connect();
    return body(*connection_);
  } catch (const PostgresError& error) {
    const std::string what = "PostgreSQL at " + address_.shown() + ": " + error.what();
    if (connection_ && error.is_of_data()) throw Permanent(what);
    // Whatever the trouble is, a new connection finds out more: the schema is checked again, and
    // behind several hosts another one may be the right one now.
    connection_.reset();
    throw Transient(what);
  }
}

PostgresResult PostgresStore::execute(const std::string& sql,
                                      const PostgresParameters& parameters) {
  return with_connection([&](PostgresConnection& connection) {
    return connection.execute(sql, parameters, deadline());
  });
}

void PostgresStore::apply(std::vector<ObjectUpdate> updates) {
  const auto groups = group_updates(std::move(updates));
  if (groups.empty()) return;
  with_connection([&](PostgresConnection& connection) {
    const auto end = deadline();
    for (const auto& group : groups) apply_group(connection, group, end);
  });
}

void PostgresStore::apply_group(PostgresConnection& connection, const UpdateGroup& group,
                                Deadline deadline) {
  std::vector<int64_t> ids;
  std::vector<UnixTime> received_at;
  std::vector<bool> online;
  std::vector<UnixTime> checked_at;
  for (const auto& update : group.updates) {
    ids.push_back(update.id);
    received_at.push_back(update.received_at);
    online.push_back(update.online);
    checked_at.push_back(update.checked_at);
  }
  switch (group.kind) {
    case ObjectUpdate::Kind::kAnswered:
      connection.execute_prepared(
          "upsert", kUpsert,
          PostgresParameters().add(ids).add(received_at).add(online).add(checked_at), deadline);
      return;
    case ObjectUpdate::Kind::kGone:
      connection.execute(kDeleteGone, PostgresParameters().add(ids).add(checked_at), deadline);
      // What a newer answer keeps was named all the same.
      [[fallthrough]];
    case ObjectUpdate::Kind::kNamed:
      connection.execute(kMoveLastSeen, PostgresParameters().add(ids).add(received_at), deadline);
      return;
  }
}

std::optional<ObjectRow> PostgresStore::find(int64_t id) {
  const auto result = execute("SELECT id, online, last_seen, checked_at FROM objects WHERE id = $1",
                              PostgresParameters().add(id));
  if (result.rows() == 0) return std::nullopt;
  return row_of(result, 0);
}

std::vector<ObjectRow> PostgresStore::list(std::optional<bool> online, std::optional<int64_t> after,
                                           size_t limit) {
  std::string sql = "SELECT id, online, last_seen, checked_at FROM objects WHERE true";
  PostgresParameters parameters;
  parameters.add(sql_limit(limit));
  if (after) {
    parameters.add(*after);
    sql += " AND id > $" + std::to_string(parameters.count());
  }
  if (online) {
    parameters.add(*online);
    sql += " AND online = $" + std::to_string(parameters.count());
  }
  const auto result = execute(sql + " ORDER BY id LIMIT $1", parameters);
  std::vector<ObjectRow> rows;
  rows.reserve(static_cast<size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) rows.push_back(row_of(result, row));
  return rows;
}

ObjectCounts PostgresStore::counts() {
  const auto result = execute("SELECT count(*) FILTER (WHERE online), count(*) FROM objects");
  const auto online = static_cast<uint64_t>(result.integer(0, 0));
  return {online, static_cast<uint64_t>(result.integer(0, 1)) - online};
}

std::optional<size_t> PostgresStore::expire(std::optional<UnixTime> watermark, Millis ttl,
                                            size_t limit) {
  const auto result =
      execute(kExpire, PostgresParameters().add(watermark).add(ttl.count()).add(sql_limit(limit)));
  if (!result.boolean(0, 0)) return std::nullopt;
  return static_cast<size_t>(result.integer(0, 1));
}

UnixTime PostgresStore::now() { return execute("SELECT clock_timestamp()").time(0, 0); }

void PostgresStore::report(const WatermarkReport& report) {
  execute(kReport, PostgresParameters()
                       .add(report.process)
                       .add(role_text(report.role))
                       .add(report.oldest)
                       .add(report.stopped));
}

std::vector<WatermarkReport> PostgresStore::reports() {
  const auto result = execute(
      "SELECT process, role, oldest, stopped, reported_at FROM watermark_reports ORDER BY process");
  std::vector<WatermarkReport> reports;
  for (int row = 0; row < result.rows(); ++row) {
    WatermarkReport report;
    report.process = result.text(row, 0);
    report.role = role_from(result.text(row, 1));
    if (!result.is_null(row, 2)) report.oldest = result.time(row, 2);
    report.stopped = result.boolean(row, 3);
    report.reported_at = result.time(row, 4);
    reports.push_back(std::move(report));
  }
  return reports;
}

void PostgresStore::forget(const std::string& process) {
  execute("DELETE FROM watermark_reports WHERE process = $1", PostgresParameters().add(process));
}

std::string PostgresStore::description() const {
  const std::string version = server_version_.empty() ? "" : " " + server_version_;
  return "PostgreSQL" + version + " at " + address_.shown();
}

void PostgresStore::connect() {
  auto connection =
      std::make_unique<PostgresConnection>(address_, options_.name, options_.deadline);
  server_version_ = connection->server_version();
  const auto applied = applied_migrations(*connection, deadline());
  if (const auto trouble = schema_trouble(options_.migrations, applied)) {
    throw Transient(description() + ": " + *trouble);
  }
  connection_ = std::move(connection);
}

}  // namespace postoffice
