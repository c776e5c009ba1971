#include "bench/processes/database.h"

#include <unistd.h>

#include <cstdio>
#include <exception>

#include "store/migration.h"

namespace postoffice::bench {
namespace {

constexpr std::chrono::minutes kLongest{10};
const std::string kName = "pipeline_bench";

PostgresConnection::Deadline deadline() { return SteadyClock::now() + kLongest; }

std::string with_database(const std::string& url, const std::string& name) {
  return url.substr(0, url.rfind('/') + 1) + name;
}

}  // namespace

Database::Database(const std::string& url)
    : name_(kName + "_" + std::to_string(getpid())),
      url_(with_database(url, name_)),
      server_(PostgresAddress(url), kName, kLongest) {
  server_.execute_script("DROP DATABASE IF EXISTS " + name_, deadline());
  server_.execute_script("CREATE DATABASE " + name_, deadline());
  make_migrator(url_, "")->migrate();
  session_ = std::make_unique<PostgresConnection>(PostgresAddress(url_), kName, kLongest);
}

Database::~Database() {
  session_.reset();
  try {
    server_.execute_script("DROP DATABASE " + name_ + " WITH (FORCE)", deadline());
  } catch (const std::exception& error) {
    fprintf(stderr, "pipeline_bench: %s\n", error.what());
  }
}

void Database::execute(const std::string& sql) { session_->execute_script(sql, deadline()); }

int64_t Database::count_objects() {
  return session_->execute("SELECT count(*) FROM objects", {}, deadline()).integer(0, 0);
}

void Database::fill(int64_t rows, std::chrono::seconds age) {
  execute("TRUNCATE objects");
  if (rows > 0) {
    execute("INSERT INTO objects SELECT id, id % 2 = 0, seen, seen FROM (SELECT id, now() - " +
            std::to_string(age.count()) +
            " * interval '1 second' - random() * interval '1 minute'" +
            " FROM generate_series(1, " + std::to_string(rows) + ") AS id) AS filled (id, seen)");
  }
  // One by one: VACUUM takes no transaction.
  execute("VACUUM ANALYZE objects");
  execute("CHECKPOINT");
}

}  // namespace postoffice::bench
