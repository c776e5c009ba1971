#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace postoffice {

struct ObjectRow {
  int64_t id = 0;
  bool online = false;
  UnixTime last_seen;
  UnixTime checked_at;
};

// What is known of one object after a fetch.
struct ObjectUpdate {
  enum class Kind {
    kAnswered,  // The object service said `online`: insert or update the row.
    kGone,  // It said that there is no such object (404, 410): delete the row unless a newer answer
            // is there, of which only `last_seen` then moves.
    kNamed,  // No answer yet, but a callback named it: move `last_seen` of an existing row, create
             // none.
  };
  int64_t id = 0;
  Kind kind = Kind::kAnswered;
  bool online = false;
  UnixTime received_at;  // Of the newest callback that named it.
  UnixTime checked_at;   // When the object service was asked; not used for kNamed.
};

struct ObjectCounts {
  uint64_t online = 0;
  uint64_t offline = 0;
};

// One process's word on the oldest callback that it holds unprocessed. See server/expiry.h.
struct WatermarkReport {
  enum class Role { kServer, kWorker };
  std::string process;  // Unique to one run of one process.
  Role role = Role::kWorker;
  std::optional<UnixTime> oldest;  // Nothing: it holds none.
  bool stopped = false;            // The process ended in order.
  UnixTime reported_at;            // By the database's clock; set by the store.
};

// The database. One connection, one thread: each thread has a Store of its own. Connects when first
// used and again after it was lost.
//
// Every call throws
// - Transient when the database is away, slow beyond its deadline (PostgreSQL: 10 s, and 3 s for
//   connecting to each address; SQLite: 5 s for other processes' locks), not migrated ("run:
//   postoffice migrate"), newer than this program, or in any trouble that is not of the data. The
//   outcome is then unknown; all calls are idempotent.
// - Permanent for an error of the data (SQLSTATE classes 22 and 23): nothing was stored, or, of a
//   batch with several kinds of updates, only some of the other kinds.
class Store {
 public:
  virtual ~Store() = default;

  // Applies all updates. `last_seen` becomes LEAST(received_at, database now) and only moves
  // forward; `online` follows LEAST(checked_at, database now), so that a newer fetch wins whichever
  // callback asked for it, and of two with equal times the later one. Updates of one id in one
  // batch count as if applied one by one. Rows are written in the order of ids. Times that
  // PostgreSQL cannot hold (4714 BC to 294276 AD) are Permanent on every engine.
  virtual void apply(std::vector<ObjectUpdate> updates) = 0;

  virtual std::optional<ObjectRow> find(int64_t id) = 0;
  // By id, ids greater than `after` only.
  virtual std::vector<ObjectRow> list(std::optional<bool> online, std::optional<int64_t> after,
                                      size_t limit) = 0;
  // Exact, so that it takes the longer the more rows there are.
  virtual ObjectCounts counts() = 0;

  // Deletes up to `limit` rows whose `last_seen` is before LEAST(watermark, database now) − ttl,
  // skipping rows that are locked. Nothing when another server is at it.
  virtual std::optional<size_t> expire(std::optional<UnixTime> watermark, Millis ttl,
                                       size_t limit) = 0;

  // The database's clock.
  virtual UnixTime now() = 0;

  // Inserts or replaces the report of one process.
  virtual void report(const WatermarkReport& report) = 0;
  virtual std::vector<WatermarkReport> reports() = 0;
  virtual void forget(const std::string& process) = 0;

  // "PostgreSQL 15.20 at localhost:5432/postoffice" or "SQLite at /data/postoffice.db": no
  // password.
  virtual std::string description() const = 0;
};

// Opens further stores on the same database; thread-safe; does not touch the database itself.
using StoreFactory = std::function<std::unique_ptr<Store>()>;

// `database_url` empty: SQLite in <data_dir>/postoffice.db. `name` is shown by PostgreSQL as
// application_name. Throws BadConfig naming DATABASE_URL when it is malformed.
StoreFactory make_store_factory(const std::string& database_url, const std::string& data_dir,
                                const std::string& name);

}  // namespace postoffice
