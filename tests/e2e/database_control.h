#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

namespace postoffice::e2e {

// A database that is empty at first, and what can happen to it. When the object goes, the server is
// as it was found.
class DatabaseControl {
 public:
  virtual ~DatabaseControl() = default;
  DatabaseControl() = default;
  DatabaseControl(const DatabaseControl&) = delete;
  DatabaseControl& operator=(const DatabaseControl&) = delete;

  virtual std::string url() const = 0;  // DATABASE_URL
  virtual void kill() = 0;              // Nothing can be stored from now on.
  virtual void up() = 0;
  virtual void pause() = 0;  // Hangs.
  virtual void resume() = 0;
  // The process that keeps all others from writing. Nobody on PostgreSQL, where a frozen client
  // holds nothing: each of its statements ends without it.
  virtual std::optional<pid_t> writer() = 0;
};

// On PostgreSQL of scripts/services; `name` is the new database's.
std::unique_ptr<DatabaseControl> make_postgres_control(const std::string& name);
// SQLite in `data_dir`, which another process locks for as long as it should not work.
std::unique_ptr<DatabaseControl> make_sqlite_control(const std::string& data_dir);

}  // namespace postoffice::e2e
