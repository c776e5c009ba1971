#include "broker/outbox_file.h"

#include "base/error.h"

namespace postoffice {
namespace {

constexpr int64_t kApplicationId = 0x504f5354;  // "POST"
constexpr int64_t kVersion = 1;
// 16 MiB: a checkpoint costs one fsync of the database whatever its size, and recovery at start
// reads the log once.
constexpr int kCheckpointPages = 4096;

constexpr const char* kSchema = R"sql(
  CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    callbacks INTEGER NOT NULL,
    oldest_received_at INTEGER NOT NULL,
    body BLOB NOT NULL
  );
  CREATE INDEX outbox_oldest_received_at ON outbox (oldest_received_at);
  CREATE TABLE totals (entries INTEGER NOT NULL, callbacks INTEGER NOT NULL);
  INSERT INTO totals VALUES (0, 0);
)sql";

int64_t integer_of(SqliteStatement& statement) {
  const int64_t value = statement.step() ? statement.integer(0) : 0;
  statement.reset();
  return value;
}

}  // namespace

OutboxFile::OutboxFile(const std::string& path, const std::string& vfs)
    : database_(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
      next_checkpoint_pages_(kCheckpointPages) {
  database_.exec("PRAGMA locking_mode=EXCLUSIVE; PRAGMA temp_store=MEMORY");
  const int64_t application_id = database_.query_integer("PRAGMA application_id");
  const bool empty = database_.query_integer("SELECT count(*) FROM sqlite_master") == 0;
  if (application_id == 0 && empty) {
    create();
  } else if (application_id != kApplicationId) {
    throw Permanent("it is no outbox but another SQLite database");
  } else if (const int64_t version = database_.query_integer("PRAGMA user_version");
             version != kVersion) {
    throw Permanent("it has version " + std::to_string(version) +
                    ", and this program reads version " + std::to_string(kVersion));
  }
  use_write_ahead_log();

  insert_ = database_.prepare("INSERT INTO outbox VALUES (?, ?, ?, ?)");
  delete_ = database_.prepare("DELETE FROM outbox WHERE id = ? RETURNING callbacks");
  set_totals_ = database_.prepare("UPDATE totals SET entries = ?, callbacks = ?");
  read_ = database_.prepare(
      "SELECT id, callbacks, oldest_received_at, body FROM outbox WHERE id > ? ORDER BY id LIMIT "
      "?");
  oldest_ = database_.prepare("SELECT min(oldest_received_at) FROM outbox");
  page_count_ = database_.prepare("PRAGMA page_count");
  free_page_count_ = database_.prepare("PRAGMA freelist_count");

  page_bytes_ = static_cast<uint64_t>(database_.query_integer("PRAGMA page_size"));
  next_id_ =
      1 + static_cast<uint64_t>(database_.query_integer("SELECT coalesce(max(id), 0) FROM outbox"));
  totals_.entries = static_cast<uint64_t>(database_.query_integer("SELECT entries FROM totals"));
  totals_.callbacks =
      static_cast<uint64_t>(database_.query_integer("SELECT callbacks FROM totals"));
}

void OutboxFile::create() {
  SqliteTransaction transaction(database_);
  database_.exec(kSchema);
  database_.exec("PRAGMA application_id=" + std::to_string(kApplicationId) +
                 "; PRAGMA user_version=" + std::to_string(kVersion));
  transaction.commit();
}

void OutboxFile::use_write_ahead_log() {
  {
    auto journal_mode = database_.prepare("PRAGMA journal_mode=WAL");
    if (!journal_mode.step() || journal_mode.text(0) != "wal") {
      throw Permanent("it cannot have a write-ahead log");
    }
  }
  database_.exec("PRAGMA synchronous=FULL; PRAGMA journal_size_limit=33554432");
  sqlite3_wal_hook(  // Also switches automatic checkpoints off.
      database_.handle(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<OutboxFile*>(self)->log_pages_ = pages;
        return SQLITE_OK;
      },
      this);
}

void OutboxFile::write(std::span<OutboxEntry> entries, std::span<const uint64_t> removals,
                       bool durable) {
  set_durable(durable);
  Totals totals = totals_;
  SqliteTransaction transaction(database_);
  delete_rows(removals, totals);
  insert_rows(entries, totals);
  set_totals_->bind(1, static_cast<int64_t>(totals.entries));
  set_totals_->bind(2, static_cast<int64_t>(totals.callbacks));
  set_totals_->run();
  transaction.commit();

  totals_ = totals;
  for (auto& entry : entries) entry.id = next_id_++;
}

void OutboxFile::delete_rows(std::span<const uint64_t> ids, Totals& totals) {
  for (const uint64_t id : ids) {
    delete_->bind(1, static_cast<int64_t>(id));
    while (delete_->step()) {
      totals.entries -= 1;
      totals.callbacks -= static_cast<uint64_t>(delete_->integer(0));
    }
  }
}

void OutboxFile::insert_rows(std::span<OutboxEntry> entries, Totals& totals) {
  uint64_t id = next_id_;
  for (const auto& entry : entries) {
    insert_->bind(1, static_cast<int64_t>(id++));
    insert_->bind(2, static_cast<int64_t>(entry.callbacks));
    insert_->bind(3, to_unix_millis(entry.oldest_received_at));
    insert_->bind_blob(4, entry.body);
    insert_->run();
    totals.entries += 1;
    totals.callbacks += entry.callbacks;
  }
}

std::vector<OutboxEntry> OutboxFile::read(uint64_t after, size_t limit) {
  std::vector<OutboxEntry> entries;
  read_->bind(1, static_cast<int64_t>(after));
  read_->bind(2, static_cast<int64_t>(limit));
  while (read_->step()) {
    OutboxEntry& entry = entries.emplace_back();
    entry.id = static_cast<uint64_t>(read_->integer(0));
    entry.callbacks = static_cast<uint32_t>(read_->integer(1));
    entry.oldest_received_at = from_unix_millis(read_->integer(2));
    entry.body = read_->blob(3);
  }
  return entries;
}

std::optional<UnixTime> OutboxFile::oldest_received_at() {
  std::optional<UnixTime> oldest;
  if (oldest_->step() && !oldest_->is_null(0)) oldest = from_unix_millis(oldest_->integer(0));
  oldest_->reset();
  return oldest;
}

uint64_t OutboxFile::used_bytes() {
  return static_cast<uint64_t>(integer_of(*page_count_) - integer_of(*free_page_count_)) *
         page_bytes_;
}

uint64_t OutboxFile::free_bytes() {
  return static_cast<uint64_t>(integer_of(*free_page_count_)) * page_bytes_;
}

void OutboxFile::set_durable(bool durable) {
  if (durable == durable_) return;
  database_.exec(durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
  durable_ = durable;
}

void OutboxFile::checkpoint(bool truncate) {
  // If it cannot be done now, e.g. because the disk is full, the log grows that much more first.
  next_checkpoint_pages_ = log_pages_ + kCheckpointPages;
  database_.exec(truncate ? "PRAGMA wal_checkpoint(TRUNCATE)" : "PRAGMA wal_checkpoint(PASSIVE)");
  log_pages_ = 0;  // The next transaction starts the log anew.
  next_checkpoint_pages_ = kCheckpointPages;
}

void OutboxFile::give_back() {
  set_durable(false);
  database_.exec("VACUUM");
  checkpoint(true);
}

void OutboxFile::abandon() noexcept {
  sqlite3_db_config(database_.handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

}  // namespace postoffice
