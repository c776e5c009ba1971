#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/migration.h"
#include "store/store.h"

namespace postoffice::testing_store {

enum class Engine { kPostgres, kSqlite };

// A fresh database of one test, empty and not migrated; it goes with this.
class TestDatabase {
 public:
  virtual ~TestDatabase() = default;

  // As make_store_factory and make_migrator take them.
  virtual std::string url() const = 0;
  virtual std::string data_dir() const = 0;

  // SQL of the test's own, on a connection of its own, which stays open. Throws std::runtime_error.
  virtual void execute(const std::string& sql) = 0;
  // The first column of the first row; empty when it is NULL or there is none.
  virtual std::string query(const std::string& sql) = 0;

  StoreFactory factory() const { return make_store_factory(url(), data_dir(), "store_tests"); }
  std::unique_ptr<Migrator> migrator(
      std::optional<std::vector<Migration>> migrations = std::nullopt) const {
    return make_migrator(url(), data_dir(), std::move(migrations));
  }
};

// False when the environment has no such engine: PostgreSQL is at TEST_DATABASE_URL.
bool has_engine(Engine engine);
std::unique_ptr<TestDatabase> make_test_database(Engine engine);

// A second connection to a PostgreSQL of make_test_database().
std::unique_ptr<TestDatabase> make_session(const TestDatabase& database);

// Polls until `holds` or 20 s have passed; the last answer.
bool eventually(const std::function<bool()>& holds);

// The message of the E that `body` throws; a failed test and an empty text when it throws none.
template <typename E, typename Body>
std::string message_of(Body body);

// For INSTANTIATE_TEST_SUITE_P.
std::string message_missing(const std::string& what);

template <typename E, typename Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  return message_missing("no such exception was thrown");
}

}  // namespace postoffice::testing_store
