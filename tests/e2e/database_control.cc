#include "tests/e2e/database_control.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <iostream>
#include <optional>

#include "base/file_descriptor.h"
#include "base/sqlite.h"
#include "tests/e2e/process.h"
#include "tests/e2e/services.h"

namespace postoffice::e2e {
namespace {

// DATABASE_URL with another database name.
std::string with_database(const std::string& url, const std::string& name) {
  const size_t slash = url.find('/', url.find("://") + 3);
  const size_t query = url.find('?', slash);
  return url.substr(0, slash + 1) + name + (query == std::string::npos ? "" : url.substr(query));
}

class PostgresControl final : public DatabaseControl {
 public:
  explicit PostgresControl(std::string name) : name_(std::move(name)) {
    psql("CREATE DATABASE " + name_);
  }
  ~PostgresControl() override {
    try {
      if (touched_) {
        services("resume", {"postgres"});
        services("up", {"postgres"});
      }
      psql("DROP DATABASE IF EXISTS " + name_ + " WITH (FORCE)");
    } catch (const std::exception& error) {
      std::cerr << "PostgreSQL is not as it was: " << error.what() << "\n";
    }
  }

  std::string url() const override {
    return with_database(required_variable("TEST_DATABASE_URL"), name_);
  }
  void kill() override {
    touched_ = true;
    services("kill", {"postgres"});
  }
  void up() override { services("up", {"postgres"}); }
  void pause() override {
    touched_ = true;
    services("pause", {"postgres"});
  }
  void resume() override { services("resume", {"postgres"}); }
  std::optional<pid_t> writer() override { return std::nullopt; }

 private:
  static void psql(const std::string& sql) {
    run({"/usr/bin/psql", required_variable("TEST_DATABASE_URL"), "-qc", sql});
  }

  std::string name_;
  bool touched_ = false;
};

// WAL_WRITE_LOCK: a byte of the file of the WAL's index (walformat.html, "WAL Locks").
constexpr off_t kWriteLock = 120;

class SqliteControl final : public DatabaseControl {
 public:
  explicit SqliteControl(const std::string& data_dir) : path_(data_dir + "/postoffice.db") {}

  std::string url() const override { return ""; }
  void kill() override { lock(); }
  void up() override { lock_.reset(); }
  void pause() override { lock(); }
  void resume() override { lock_.reset(); }
  std::optional<pid_t> writer() override {
    const FileDescriptor file(open((path_ + "-shm").c_str(), O_RDONLY | O_CLOEXEC));
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kWriteLock;
    lock.l_len = 1;
    if (fcntl(file.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return std::nullopt;
    return lock.l_pid;
  }

 private:
  void lock() {
    lock_.emplace(path_, SQLITE_OPEN_READWRITE);
    lock_->set_busy_timeout(Millis(60'000));
    lock_->exec("BEGIN EXCLUSIVE");
  }

  std::string path_;
  std::optional<SqliteDatabase> lock_;
};

}  // namespace

std::unique_ptr<DatabaseControl> make_postgres_control(const std::string& name) {
  return std::make_unique<PostgresControl>(name);
}

std::unique_ptr<DatabaseControl> make_sqlite_control(const std::string& data_dir) {
  return std::make_unique<SqliteControl>(data_dir);
}

}  // namespace postoffice::e2e
