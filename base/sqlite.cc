#include "base/sqlite.h"

#include <cerrno>
#include <thread>

namespace postoffice {
namespace {

constexpr Millis kBusyPollInterval{2};

// What `file` of the main database last failed with; 0 when it never did.
int last_errno(sqlite3* handle, int file_pointer_opcode) {
  sqlite3_file* file = nullptr;
  int value = 0;
  if (sqlite3_file_control(handle, "main", file_pointer_opcode, &file) == SQLITE_OK &&
      file != nullptr && file->pMethods != nullptr) {
    file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &value);
  }
  return value;
}

// sqlite3_system_errno() knows nothing of a COMMIT that failed (3.40) and tells of an older error
// then; so the files are asked first. Which of them it was is not known: an errno that says that
// the disk is broken comes before one that says that it is full.
int system_errno_of(sqlite3* handle, int code) {
  const int primary = code & 0xff;
  if (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN) return 0;
  const int log = last_errno(handle, SQLITE_FCNTL_JOURNAL_POINTER);
  const int database = last_errno(handle, SQLITE_FCNTL_FILE_POINTER);
  if (log == 0 && database == 0) return sqlite3_system_errno(handle);
  const bool log_is_full = log == ENOSPC || log == EDQUOT;
  return log == 0 || (log_is_full && database != 0) ? database : log;
}

[[noreturn]] void fail(sqlite3* handle, int code, const std::string& doing) {
  const int system_errno = system_errno_of(handle, code);
  std::string what = doing + ": " + sqlite3_errmsg(handle) + " (" + sqlite3_errstr(code) +
                     ", code " + std::to_string(code);
  if (system_errno != 0) what += ", errno " + std::to_string(system_errno);
  throw SqliteError(what + ")", code, system_errno);
}

std::string_view bytes_at(const void* bytes, int length) {
  if (bytes == nullptr) return {};
  return {static_cast<const char*>(bytes), static_cast<size_t>(length)};
}

}  // namespace

SqliteDatabase::SqliteDatabase(const std::string& path, int flags, const std::string& vfs) {
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                      vfs.empty() ? nullptr : vfs.c_str());
  handle_.reset(handle);  // Given also on failure, and then holds the message.
  if (handle == nullptr) throw SqliteError("open " + path + ": no memory", SQLITE_NOMEM, 0);
  if (code != SQLITE_OK) fail(handle, code, "open " + path);
}

void SqliteDatabase::set_busy_timeout(Millis timeout) {
  busy_wait_ = std::make_unique<BusyWait>(BusyWait{timeout, {}});
  sqlite3_busy_handler(handle(), wait_while_busy, busy_wait_.get());
}

int SqliteDatabase::wait_while_busy(void* busy_wait, int calls_before) {
  auto& wait = *static_cast<BusyWait*>(busy_wait);
  if (calls_before == 0) wait.deadline = SteadyClock::now() + wait.timeout;
  if (SteadyClock::now() >= wait.deadline) return 0;
  std::this_thread::sleep_for(kBusyPollInterval);
  return 1;
}

void SqliteDatabase::exec(const std::string& sql) {
  const int code = sqlite3_exec(handle(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(handle(), code, "SQLite");
}

int64_t SqliteDatabase::query_integer(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement.step()) throw SqliteError("SQLite: no row", SQLITE_DONE, 0);
  return statement.integer(0);
}

SqliteStatement SqliteDatabase::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) fail(handle(), code, "SQLite");
  return SqliteStatement(statement);
}

int64_t SqliteDatabase::changes() const { return sqlite3_changes64(handle()); }

bool SqliteDatabase::in_transaction() const { return sqlite3_get_autocommit(handle()) == 0; }

SqliteStatement& SqliteStatement::bind(int parameter, int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), parameter, value));
  return *this;
}

SqliteStatement& SqliteStatement::bind(int parameter, std::optional<int64_t> value) {
  if (value) return bind(parameter, *value);
  check(sqlite3_bind_null(statement_.get(), parameter));
  return *this;
}

SqliteStatement& SqliteStatement::bind(int parameter, std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.data() != nullptr ? text.data() : "";
  check(sqlite3_bind_text64(statement_.get(), parameter, data, text.size(), SQLITE_STATIC,
                            SQLITE_UTF8));
  return *this;
}

SqliteStatement& SqliteStatement::bind_blob(int parameter, std::string_view bytes) {
  const char* data = bytes.data() != nullptr ? bytes.data() : "";
  check(sqlite3_bind_blob64(statement_.get(), parameter, data, bytes.size(), SQLITE_STATIC));
  return *this;
}

bool SqliteStatement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  try {
    check(code);
  } catch (...) {
    reset();
    throw;
  }
  return false;
}

void SqliteStatement::run() {
  while (step()) {
  }
}

void SqliteStatement::reset() noexcept {
  sqlite3_reset(statement_.get());  // Repeats the error of the last step, which was reported.
  sqlite3_clear_bindings(statement_.get());
}

bool SqliteStatement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view SqliteStatement::text(int column) const {
  const auto* text = sqlite3_column_text(statement_.get(), column);
  return bytes_at(text, sqlite3_column_bytes(statement_.get(), column));
}

std::string_view SqliteStatement::blob(int column) const {
  const auto* bytes = sqlite3_column_blob(statement_.get(), column);
  return bytes_at(bytes, sqlite3_column_bytes(statement_.get(), column));
}

void SqliteStatement::check(int code) const {
  if (code != SQLITE_OK) fail(sqlite3_db_handle(statement_.get()), code, "SQLite");
}

SqliteTransaction::SqliteTransaction(SqliteDatabase& database) : database_(database) {
  database_.exec("BEGIN IMMEDIATE");
}

SqliteTransaction::~SqliteTransaction() {
  // Some errors (full disk, I/O) have rolled back already.
  if (database_.in_transaction()) {
    sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

void SqliteTransaction::commit() { database_.exec("COMMIT"); }

}  // namespace postoffice
