#include "tests/store/test_database.h"

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "base/sqlite.h"

namespace postoffice::testing_store {
namespace {

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
  void operator()(PGresult* result) const { PQclear(result); }
};

class PostgresSession : public TestDatabase {
 public:
  explicit PostgresSession(std::string url)
      : url_(std::move(url)), connection_(PQconnectdb(url_.c_str())) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) {
      throw std::runtime_error(PQerrorMessage(connection_.get()));
    }
    execute("SET client_min_messages = warning");
  }

  std::string url() const override { return url_; }
  std::string data_dir() const override { return "unused"; }
  void execute(const std::string& sql) override { query(sql); }
  std::string query(const std::string& sql) override {
    const std::unique_ptr<PGresult, Finish> result(PQexec(connection_.get(), sql.c_str()));
    const auto status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      throw std::runtime_error(sql + ": " + PQerrorMessage(connection_.get()));
    }
    const bool has_value = PQntuples(result.get()) > 0 && PQnfields(result.get()) > 0;
    return has_value ? PQgetvalue(result.get(), 0, 0) : "";
  }

 private:
  const std::string url_;
  const std::unique_ptr<PGconn, Finish> connection_;
};

// `url` with another database, as "host=... dbname=...".
std::string with_database(const std::string& url, const std::string& name) {
  const std::unique_ptr<PQconninfoOption, Finish> options(PQconninfoParse(url.c_str(), nullptr));
  if (!options) throw std::runtime_error("TEST_DATABASE_URL is malformed");
  std::string text = "dbname=" + name;
  for (const auto* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr || std::string(option->keyword) == "dbname") continue;
    text += std::string(" ") + option->keyword + "='" + option->val + "'";
  }
  return text;
}

std::string fresh_name() {
  static std::atomic<int> count = 0;
  return "store_tests_" + std::to_string(getpid()) + "_" + std::to_string(++count);
}

class PostgresDatabase final : public TestDatabase {
 public:
  PostgresDatabase() : name_(fresh_name()), server_(std::getenv("TEST_DATABASE_URL")) {
    server_.execute("CREATE DATABASE " + name_);
    session_ = std::make_unique<PostgresSession>(with_database(server_.url(), name_));
  }
  ~PostgresDatabase() override {
    session_.reset();
    try {
      server_.execute("DROP DATABASE " + name_ + " WITH (FORCE)");
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }

  std::string url() const override { return session_->url(); }
  std::string data_dir() const override { return session_->data_dir(); }
  void execute(const std::string& sql) override { session_->execute(sql); }
  std::string query(const std::string& sql) override { return session_->query(sql); }

 private:
  const std::string name_;
  PostgresSession server_;
  std::unique_ptr<PostgresSession> session_;
};

class SqliteFolder final : public TestDatabase {
 public:
  SqliteFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "store_tests.XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~SqliteFolder() override { std::filesystem::remove_all(folder_); }

  std::string url() const override { return ""; }
  std::string data_dir() const override { return folder_ / "data"; }
  void execute(const std::string& sql) override { open().exec(sql); }
  std::string query(const std::string& sql) override {
    auto statement = open().prepare(sql);
    return statement.step() ? std::string(statement.text(0)) : "";
  }

 private:
  SqliteDatabase& open() {
    if (!database_) {
      std::filesystem::create_directories(folder_ / "data");
      database_.emplace(folder_ / "data" / "postoffice.db",
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
      database_->set_busy_timeout(Millis(5000));
    }
    return *database_;
  }

  std::filesystem::path folder_;
  std::optional<SqliteDatabase> database_;
};

}  // namespace

bool has_engine(Engine engine) {
  return engine == Engine::kSqlite || std::getenv("TEST_DATABASE_URL") != nullptr;
}

std::unique_ptr<TestDatabase> make_test_database(Engine engine) {
  if (engine == Engine::kSqlite) return std::make_unique<SqliteFolder>();
  return std::make_unique<PostgresDatabase>();
}

std::unique_ptr<TestDatabase> make_session(const TestDatabase& database) {
  return std::make_unique<PostgresSession>(database.url());
}

bool eventually(const std::function<bool()>& holds) {
  const auto deadline = SteadyClock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (SteadyClock::now() > deadline) return false;
    std::this_thread::sleep_for(Millis(5));
  }
  return true;
}

std::string message_missing(const std::string& what) {
  ADD_FAILURE() << what;
  return "";
}

}  // namespace postoffice::testing_store
