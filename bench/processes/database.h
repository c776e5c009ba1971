#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "store/postgres_connection.h"
#include "store/store.h"

namespace postoffice::bench {

// A PostgreSQL database of its own, migrated and empty; dropped when the object goes. Everything
// throws. Not thread-safe.
class Database {
 public:
  // `url` is of another database on the same server: postgresql://user:password@host:port/name.
  explicit Database(const std::string& url);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& url() const { return url_; }
  StoreFactory stores() const { return make_store_factory(url_, "", "pipeline_bench"); }

  // Several statements, of up to 10 minutes together. Rows are thrown away.
  void execute(const std::string& sql);
  int64_t count_objects();

  // Leaves `objects` with `rows` rows, of ids 1 to `rows` in this order, named `age` ago and up to
  // a minute before; analysed, and on disk.
  void fill(int64_t rows, std::chrono::seconds age);

 private:
  const std::string name_;
  const std::string url_;
  PostgresConnection server_;
  std::unique_ptr<PostgresConnection> session_;
};

}  // namespace postoffice::bench
