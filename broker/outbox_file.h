#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/sqlite.h"
#include "broker/outbox.h"

namespace postoffice {

// The file of the SqliteOutbox: its tables, transactions and checkpoints. Not thread-safe. Every
// call throws SqliteError; after one that came from a failed disk, call abandon() and nothing else.
//
// The connection is the file's only one (locking_mode=EXCLUSIVE), so there is no shared memory file
// that a full disk could fail to extend. Checkpoints are called for by the owner, because SQLite's
// automatic ones hide a failed fsync, and trying that again may succeed although the data is lost.
class OutboxFile {
 public:
  // Opens or creates. Throws Permanent when the file is something else than an outbox.
  OutboxFile(const std::string& path, const std::string& vfs);
  OutboxFile(const OutboxFile&) = delete;
  OutboxFile& operator=(const OutboxFile&) = delete;

  // One transaction: removes `removals` (ids that are not there are fine), then adds `entries` and
  // sets their ids. `durable`: fsynced when this returns. On an exception nothing was changed.
  void write(std::span<OutboxEntry> entries, std::span<const uint64_t> removals, bool durable);

  // Up to `limit` entries with id > `after`, in order.
  std::vector<OutboxEntry> read(uint64_t after, size_t limit);

  uint64_t entries() const { return totals_.entries; }
  uint64_t callbacks() const { return totals_.callbacks; }
  std::optional<UnixTime> oldest_received_at();
  uint64_t used_bytes();  // Of the database, without free pages.
  uint64_t free_bytes();  // Of the database's free pages.

  // Whether the write-ahead log has grown so far that it should be moved to the database.
  bool checkpoint_due() const { return log_pages_ >= next_checkpoint_pages_; }
  // Moves the write-ahead log to the database and fsyncs it. `truncate` also empties the log's
  // file.
  void checkpoint(bool truncate = false);

  // Gives all free pages back to the file system. Writes what is in use anew, so it is for files
  // that hold little; others use their free pages again. (Measured: an emptied file of 1 GiB takes
  // 0.3 s, with PRAGMA incremental_vacuum 25 s.)
  void give_back();

  // From now on nothing is written any more, also not when the file is closed.
  void abandon() noexcept;

 private:
  struct Totals {
    uint64_t entries = 0;
    uint64_t callbacks = 0;
  };

  void create();
  void use_write_ahead_log();
  void set_durable(bool durable);
  void delete_rows(std::span<const uint64_t> ids, Totals& totals);
  void insert_rows(std::span<OutboxEntry> entries, Totals& totals);

  SqliteDatabase database_;
  std::optional<SqliteStatement> insert_;
  std::optional<SqliteStatement> delete_;
  std::optional<SqliteStatement> set_totals_;
  std::optional<SqliteStatement> read_;
  std::optional<SqliteStatement> oldest_;
  std::optional<SqliteStatement> page_count_;
  std::optional<SqliteStatement> free_page_count_;
  uint64_t page_bytes_ = 0;
  uint64_t next_id_ = 1;
  Totals totals_;
  bool durable_ = true;
  int log_pages_ = 0;
  int next_checkpoint_pages_;
};

}  // namespace postoffice
