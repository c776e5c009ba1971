#pragma once

#include <memory>
#include <set>
#include <string>

#include "base/time.h"
#include "store/libpq.h"
#include "store/postgres_address.h"
#include "store/postgres_parameters.h"
#include "store/postgres_result.h"

namespace postoffice {

// A session with PostgreSQL. Not thread-safe. Every call throws PostgresError; after one without
// SQLSTATE, and whenever in doubt, the session is of no more use: destroy it and open another.
class PostgresConnection {
 public:
  using Deadline = SteadyClock::time_point;

  // Connects within 3 s for each address that the host names resolve to, or connect_timeout of the
  // address. `name` is the application_name unless the address has one. `statement_timeout`: the
  // server ends longer statements by itself, so that one whose client gave up does not go on.
  PostgresConnection(const PostgresAddress& address, const std::string& name,
                     Millis statement_timeout);

  // One statement, committed when this returns unless a transaction is open.
  PostgresResult execute(const std::string& sql, const PostgresParameters& parameters,
                         Deadline deadline);
  // The same for one that is executed again and again: it is parsed the first time, and `name`
  // stands for it from then on. After a few times PostgreSQL may plan it without looking at the
  // parameters, which not every statement is good for.
  PostgresResult execute_prepared(const std::string& name, const std::string& sql,
                                  const PostgresParameters& parameters, Deadline deadline);
  // One or several statements without parameters. Rows are thrown away.
  void execute_script(const std::string& sql, Deadline deadline);

  // False when the server has closed the connection meanwhile, as far as can be told without asking
  // it. Never blocks.
  bool is_open();

  std::string server_version() const;  // "15.20"

 private:
  PostgresResult finish(Deadline deadline);
  void wait(bool for_writing, Deadline deadline);
  [[noreturn]] void fail() const;

  struct Close {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Close> connection_;
  std::set<std::string> prepared_;
};

}  // namespace postoffice
