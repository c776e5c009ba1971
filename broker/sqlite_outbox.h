#pragma once

#include <memory>
#include <string>

#include "broker/outbox.h"

namespace postoffice {

// The outbox in <data_dir>/outbox.db: SQLite, WAL, synchronous=FULL. Opens fast whatever its size.
//
// The file (application_id "POST", user_version 1):
//   outbox(id INTEGER PRIMARY KEY, callbacks, oldest_received_at /* unix ms */, body BLOB)
//     one row a message, ids rising in the order of append; index on oldest_received_at
//   totals(entries, callbacks)
//     one row, kept in the same transactions, so that opening need not count
//
// Removals are not fsynced by themselves. After draining, all but 16 MiB of disk space is given
// back.
class SqliteOutbox final : public Outbox {
 public:
  struct Options {
    std::string data_dir;  // Exists; locked by the caller (DataDirLock).
    // Of the database without its free pages. The write-ahead log comes on top: 16 MiB, or the
    // largest transaction if that is larger.
    uint64_t max_bytes = uint64_t{10} << 30;
    // Refused as full when the disk would have less. Less than 24 MiB would not leave the room that
    // draining takes.
    uint64_t min_free_bytes = uint64_t{64} << 20;
    std::string vfs = {};  // SQLite VFS to open the file with, for tests. Empty: the system's.
  };

  // Throws BadConfig naming DATA_DIR when the file cannot be opened or is no outbox.
  explicit SqliteOutbox(Options options);
  ~SqliteOutbox() override;

  std::optional<OutboxRefusal> append(std::span<OutboxEntry> entries,
                                      std::span<const uint64_t> removals) override;
  std::vector<OutboxEntry> read(uint64_t after, size_t limit) override;
  void remove(std::span<const uint64_t> ids) override;
  OutboxDepth depth() const override;
  std::optional<OutboxRefusal> refusal() const override;

  // As if its disk had failed: for an owner that saw the same disk fail elsewhere.
  void fail();

 private:
  class Database;
  std::unique_ptr<Database> database_;
};

}  // namespace postoffice
