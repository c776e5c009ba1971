#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/time.h"

namespace postoffice {

// What SQLite answered other than success. Users of these classes translate it into the error that
// their own callers know.
class SqliteError : public std::runtime_error {
 public:
  SqliteError(const std::string& what, int code, int system_errno)
      : std::runtime_error(what), code_(code), system_errno_(system_errno) {}

  // The extended result code, e.g. SQLITE_IOERR_FSYNC.
  int code() const { return code_; }
  // Its class, e.g. SQLITE_IOERR.
  int primary_code() const { return code_ & 0xff; }
  // errno of the call that failed, for SQLITE_IOERR and SQLITE_CANTOPEN; else 0. ENOSPC is
  // SQLITE_FULL; EDQUOT is SQLITE_IOERR_WRITE.
  int system_errno() const { return system_errno_; }

 private:
  int code_;
  int system_errno_;
};

class SqliteStatement;

// A connection to one database file. Not thread-safe: SQLite's own mutex is off. Every call throws
// SqliteError.
class SqliteDatabase {
 public:
  // `flags`: SQLITE_OPEN_READONLY, SQLITE_OPEN_READWRITE, SQLITE_OPEN_CREATE, ... The file itself
  // is looked at by the first statement. `vfs` names a registered VFS; empty: the system's.
  SqliteDatabase(const std::string& path, int flags, const std::string& vfs = {});
  SqliteDatabase(SqliteDatabase&&) = default;
  SqliteDatabase& operator=(SqliteDatabase&&) = delete;

  // How long a statement waits for the locks of other connections before SQLITE_BUSY. It looks for
  // them every 2 ms: SQLite's own wait grows to 100 ms, and a busy writer starves all others
  // (measured: for 3 s by an expiry of 1M rows, 140 ms this way).
  void set_busy_timeout(Millis timeout);

  // One or several statements; rows are thrown away.
  void exec(const std::string& sql);
  // The first column of the first row of a query that has one.
  int64_t query_integer(std::string_view sql);
  // The statement must not outlive the database.
  SqliteStatement prepare(std::string_view sql);

  // Rows that the last INSERT, UPDATE or DELETE changed.
  int64_t changes() const;
  bool in_transaction() const;
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  struct BusyWait {
    Millis timeout;
    SteadyClock::time_point deadline;
  };

  static int wait_while_busy(void* busy_wait, int calls_before);

  std::unique_ptr<BusyWait> busy_wait_;  // SQLite holds a pointer to it.
  std::unique_ptr<sqlite3, Close> handle_;
};

// A prepared statement, used any number of times. Parameters and columns are counted as SQLite
// counts them: parameters from 1, columns from 0.
class SqliteStatement {
 public:
  // Bound text and blobs are not copied: they outlive the steps that use them.
  SqliteStatement& bind(int parameter, int64_t value);
  SqliteStatement& bind(int parameter, std::optional<int64_t> value);
  SqliteStatement& bind(int parameter, std::string_view text);
  SqliteStatement& bind_blob(int parameter, std::string_view bytes);

  // True: there is a row. False: done. After false and after an error the statement is reset and
  // its parameters are cleared; one that is left before needs reset(), because it holds its read
  // lock.
  bool step();
  // Steps to the end.
  void run();
  void reset() noexcept;

  bool is_null(int column) const;
  int64_t integer(int column) const;
  // Valid until the next step or reset.
  std::string_view text(int column) const;
  std::string_view blob(int column) const;

 private:
  friend class SqliteDatabase;
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}
  void check(int code) const;

  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// BEGIN IMMEDIATE, so that the lock is waited for at the start, where waiting cannot deadlock.
// Rolls back when destroyed without commit().
class SqliteTransaction {
 public:
  explicit SqliteTransaction(SqliteDatabase& database);
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;

  void commit();

 private:
  SqliteDatabase& database_;
};

}  // namespace postoffice
