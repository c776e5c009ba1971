#include "store/sqlite_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "store/column_values.h"
#include "store/schema.h"
#include "store/sqlite_file.h"

namespace postoffice {
namespace {

constexpr const char* kUpsert =
    "INSERT INTO objects (id, online, last_seen, checked_at) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (id) DO UPDATE SET"
    " last_seen = max(last_seen, excluded.last_seen),"
    " online = iif(excluded.checked_at >= checked_at, excluded.online, online),"
    " checked_at = max(checked_at, excluded.checked_at)";

constexpr const char* kMoveLastSeen =
    "UPDATE objects SET last_seen = ?2 WHERE id = ?1 AND last_seen < ?2";

constexpr const char* kDeleteGone = "DELETE FROM objects WHERE id = ?1 AND checked_at <= ?2";

constexpr const char* kFind = "SELECT id, online, last_seen, checked_at FROM objects WHERE id = ?1";

constexpr const char* kList =
    "SELECT id, online, last_seen, checked_at FROM objects"
    " WHERE id >= ?1 AND online BETWEEN ?2 AND ?3 ORDER BY id LIMIT ?4";

constexpr const char* kCounts = "SELECT total(online), count(*) FROM objects";

constexpr const char* kExpire =
    "DELETE FROM objects WHERE id IN"
    " (SELECT id FROM objects WHERE last_seen < ?1 ORDER BY last_seen LIMIT ?2)";

constexpr const char* kReport =
    "INSERT INTO watermark_reports (process, role, oldest, stopped, reported_at)"
    " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (process) DO UPDATE SET role = excluded.role,"
    " oldest = excluded.oldest, stopped = excluded.stopped, reported_at = excluded.reported_at";

constexpr const char* kReports =
    "SELECT process, role, oldest, stopped, reported_at FROM watermark_reports ORDER BY process";

constexpr const char* kForget = "DELETE FROM watermark_reports WHERE process = ?1";

ObjectRow row_of(const SqliteStatement& statement) {
  return {statement.integer(0), statement.integer(1) != 0, from_unix_millis(statement.integer(2)),
          from_unix_millis(statement.integer(3))};
}

bool is_of_data(const SqliteError& error) {
  const int code = error.primary_code();
  return code == SQLITE_CONSTRAINT || code == SQLITE_MISMATCH || code == SQLITE_TOOBIG;
}

}  // namespace

struct SqliteStore::Session {
  explicit Session(SqliteDatabase opened) : database(std::move(opened)) {}

  SqliteDatabase database;
  SqliteStatement upsert = database.prepare(kUpsert);
  SqliteStatement move_last_seen = database.prepare(kMoveLastSeen);
  SqliteStatement delete_gone = database.prepare(kDeleteGone);
  SqliteStatement find = database.prepare(kFind);
  SqliteStatement list = database.prepare(kList);
  SqliteStatement counts = database.prepare(kCounts);
  SqliteStatement expire = database.prepare(kExpire);
  SqliteStatement report = database.prepare(kReport);
  SqliteStatement reports = database.prepare(kReports);
  SqliteStatement forget = database.prepare(kForget);
};

SqliteStore::SqliteStore(const std::string& data_dir, std::vector<Migration> migrations)
    : path_(sqlite_path(data_dir)), migrations_(std::move(migrations)) {}

SqliteStore::~SqliteStore() = default;

template <typename Body>
auto SqliteStore::with_session(Body body) {
  try {
    if (!session_) session_ = open();
    return body(*session_);
  } catch (const SqliteError& error) {
    const std::string what = description() + ": " + error.what();
    if (is_of_data(error)) throw Permanent(what);
    session_.reset();
    throw Transient(what);
  }
}

void SqliteStore::apply(std::vector<ObjectUpdate> updates) {
  const auto groups = group_updates(std::move(updates));
  if (groups.empty()) return;
  with_session([&](Session& session) {
    SqliteTransaction transaction(session.database);
    const auto at = unix_now();
    for (const auto& group : groups) apply_group(session, group, at);
    transaction.commit();
  });
}

void SqliteStore::apply_group(Session& session, const UpdateGroup& group, UnixTime now) {
  for (const auto& update : group.updates) {
    const int64_t seen = to_unix_millis(std::min(update.received_at, now));
    const int64_t checked = to_unix_millis(std::min(update.checked_at, now));
    switch (group.kind) {
      case ObjectUpdate::Kind::kAnswered:
        session.upsert.bind(1, update.id).bind(2, int64_t{update.online});
        session.upsert.bind(3, seen).bind(4, checked).run();
        break;
      case ObjectUpdate::Kind::kGone:
        session.delete_gone.bind(1, update.id).bind(2, checked).run();
        // What a newer answer keeps was named all the same.
        [[fallthrough]];
      case ObjectUpdate::Kind::kNamed:
        session.move_last_seen.bind(1, update.id).bind(2, seen).run();
        break;
    }
  }
}

std::optional<ObjectRow> SqliteStore::find(int64_t id) {
  return with_session([&](Session& session) {
    session.find.bind(1, id);
    std::optional<ObjectRow> row;
    while (session.find.step()) row = row_of(session.find);
    return row;
  });
}

std::vector<ObjectRow> SqliteStore::list(std::optional<bool> online, std::optional<int64_t> after,
                                         size_t limit) {
  if (after == std::numeric_limits<int64_t>::max()) return {};
  return with_session([&](Session& session) {
    session.list.bind(1, after ? *after + 1 : std::numeric_limits<int64_t>::min());
    session.list.bind(2, int64_t{online.value_or(false)}).bind(3, int64_t{online.value_or(true)});
    session.list.bind(4, sql_limit(limit));
    std::vector<ObjectRow> rows;
    while (session.list.step()) rows.push_back(row_of(session.list));
    return rows;
  });
}

ObjectCounts SqliteStore::counts() {
  return with_session([](Session& session) {
    ObjectCounts counts;
    while (session.counts.step()) {
      counts.online = static_cast<uint64_t>(session.counts.integer(0));
      counts.offline = static_cast<uint64_t>(session.counts.integer(1)) - counts.online;
    }
    return counts;
  });
}

std::optional<size_t> SqliteStore::expire(std::optional<UnixTime> watermark, Millis ttl,
                                          size_t limit) {
  return with_session([&](Session& session) {
    const auto at = unix_now();
    const UnixTime oldest = std::min(watermark.value_or(at), at);
    int64_t cutoff = 0;
    if (__builtin_sub_overflow(to_unix_millis(oldest), ttl.count(), &cutoff)) return size_t{0};
    session.expire.bind(1, cutoff).bind(2, sql_limit(limit)).run();
    return static_cast<size_t>(session.database.changes());
  });
}

UnixTime SqliteStore::now() {
  return with_session([](Session& /*session*/) { return unix_now(); });
}

void SqliteStore::report(const WatermarkReport& report) {
  if (report.oldest) check_time(*report.oldest, "oldest");
  with_session([&](Session& session) {
    std::optional<int64_t> oldest;
    if (report.oldest) oldest = to_unix_millis(*report.oldest);
    session.report.bind(1, report.process).bind(2, role_text(report.role)).bind(3, oldest);
    session.report.bind(4, int64_t{report.stopped}).bind(5, to_unix_millis(unix_now())).run();
  });
}

std::vector<WatermarkReport> SqliteStore::reports() {
  return with_session([](Session& session) {
    std::vector<WatermarkReport> reports;
    auto& select = session.reports;
    while (select.step()) {
      WatermarkReport report;
      report.process = select.text(0);
      report.role = role_from(select.text(1));
      if (!select.is_null(2)) report.oldest = from_unix_millis(select.integer(2));
      report.stopped = select.integer(3) != 0;
      report.reported_at = from_unix_millis(select.integer(4));
      reports.push_back(std::move(report));
    }
    return reports;
  });
}

void SqliteStore::forget(const std::string& process) {
  with_session([&](Session& session) { session.forget.bind(1, process).run(); });
}

std::string SqliteStore::description() const { return "SQLite at " + path_; }

std::unique_ptr<SqliteStore::Session> SqliteStore::open() const {
  std::vector<AppliedMigration> applied;
  std::optional<SqliteDatabase> database;
  try {
    database.emplace(open_sqlite(path_, SQLITE_OPEN_READWRITE));
    applied = applied_migrations(*database);
  } catch (const SqliteError& error) {
    if (error.system_errno() != ENOENT) throw;
  }
  if (const auto trouble = schema_trouble(migrations_, applied)) {
    throw Transient(description() + ": " + *trouble);
  }
  return std::make_unique<Session>(std::move(*database));
}

}  // namespace postoffice
