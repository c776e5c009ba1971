#include "store/postgres_connection.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <system_error>
#include <vector>

#include "base/url.h"
#include "store/postgres_error.h"

namespace postoffice {
namespace {

constexpr Millis kLongestSetup{3000};

// libpq's messages end in a line break and may have several lines.
std::string one_line(std::string_view message) {
  std::string line;
  for (const char c : message) {
    if (c != '\n') {
      line += c;
    } else if (!line.empty() && line.back() != ';') {
      line += ';';
    }
    if (c == '\n') line += ' ';
  }
  const size_t end = line.find_last_not_of("; ");
  return mask_passwords(line.substr(0, end == std::string::npos ? 0 : end + 1));
}

std::map<std::string, std::string> with_defaults(const PostgresAddress& address,
                                                 const std::string& name) {
  std::map<std::string, std::string> parameters = {
      {"fallback_application_name", name},
      {"connect_timeout", "3"},
      // A peer that vanished is noticed in about 10 s, also with data under way.
      {"keepalives_idle", "5"},
      {"keepalives_interval", "2"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", "10000"},
      {"client_encoding", "UTF8"},
  };
  for (const auto& [keyword, value] : address.parameters()) {
    const bool endless = keyword == "connect_timeout" && std::atoi(value.c_str()) <= 0;
    if (!endless) parameters[keyword] = value;
  }
  return parameters;
}

PGconn* connect(const PostgresAddress& address, const std::string& name) {
  const auto parameters = with_defaults(address, name);
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : parameters) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  return PQconnectdbParams(keywords.data(), values.data(), /*expand_dbname=*/0);
}

void log_notice(void* /*unused*/, const PGresult* notice) {
  spdlog::debug("PostgreSQL: {}", one_line(PQresultErrorMessage(notice)));
}

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text != nullptr ? text : "";
}

void check(const PostgresResult& result) {
  const auto status = PQresultStatus(result.handle());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
    return;
  const std::string sqlstate = field(result.handle(), PG_DIAG_SQLSTATE);
  const std::string message = field(result.handle(), PG_DIAG_MESSAGE_PRIMARY);
  // Errors that libpq makes itself have no fields.
  throw PostgresError(one_line(message.empty() ? PQresultErrorMessage(result.handle()) : message),
                      sqlstate);
}

// What libpq wants to be told of parameters, all of them binary. Points into them.
struct Arguments {
  explicit Arguments(const PostgresParameters& parameters)
      : count(parameters.count()),
        values(parameters.values()),
        lengths(parameters.lengths()),
        formats(values.size(), 1) {}

  int count;
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
};

}  // namespace

PostgresConnection::PostgresConnection(const PostgresAddress& address, const std::string& name,
                                       Millis statement_timeout)
    : connection_(connect(address, name)) {
  if (!connection_) throw PostgresError("out of memory", "");
  if (PQstatus(connection_.get()) != CONNECTION_OK) fail();
  PQsetNoticeReceiver(connection_.get(), log_notice, nullptr);
  if (PQsetnonblocking(connection_.get(), 1) != 0) fail();
  // A transaction must be on disk when it is committed, whatever the server's or the role's
  // defaults; remote_apply, which is more, is left. A transaction whose client hangs must not hold
  // its locks. Statements are written for READ COMMITTED.
  execute(
      "SELECT set_config('statement_timeout', $1, false),"
      " set_config('idle_in_transaction_session_timeout', $1, false),"
      " set_config('default_transaction_isolation', 'read committed', false),"
      " set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
      " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)",
      PostgresParameters().add(std::to_string(statement_timeout.count())),
      SteadyClock::now() + kLongestSetup);
}

PostgresResult PostgresConnection::execute(const std::string& sql,
                                           const PostgresParameters& parameters,
                                           Deadline deadline) {
  const Arguments arguments(parameters);
  if (PQsendQueryParams(connection_.get(), sql.c_str(), arguments.count, parameters.types(),
                        arguments.values.data(), arguments.lengths.data(), arguments.formats.data(),
                        1) == 0) {
    fail();
  }
  return finish(deadline);
}

PostgresResult PostgresConnection::execute_prepared(const std::string& name, const std::string& sql,
                                                    const PostgresParameters& parameters,
                                                    Deadline deadline) {
  if (!prepared_.contains(name)) {
    if (PQsendPrepare(connection_.get(), name.c_str(), sql.c_str(), parameters.count(),
                      parameters.types()) == 0) {
      fail();
    }
    finish(deadline);
    prepared_.insert(name);
  }
  const Arguments arguments(parameters);
  if (PQsendQueryPrepared(connection_.get(), name.c_str(), arguments.count, arguments.values.data(),
                          arguments.lengths.data(), arguments.formats.data(), 1) == 0) {
    fail();
  }
  return finish(deadline);
}

void PostgresConnection::execute_script(const std::string& sql, Deadline deadline) {
  if (PQsendQuery(connection_.get(), sql.c_str()) == 0) fail();
  finish(deadline);
}

PostgresResult PostgresConnection::finish(Deadline deadline) {
  PostgresResult last;
  while (true) {
    const int unsent = PQflush(connection_.get());
    if (unsent < 0) fail();
    if (PQisBusy(connection_.get()) == 1) {
      wait(unsent == 1, deadline);
      if (PQconsumeInput(connection_.get()) == 0) fail();
      continue;
    }
    PostgresResult next(PQgetResult(connection_.get()));
    if (!next) break;
    // A script ends at its first error, so that the last result tells.
    last = std::move(next);
  }
  check(last);
  return last;
}

void PostgresConnection::wait(bool for_writing, Deadline deadline) {
  pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
  if (for_writing) socket.events |= POLLOUT;
  while (true) {
    const auto left = std::chrono::ceil<Millis>(deadline - SteadyClock::now());
    const int ready = left.count() <= 0 ? 0 : poll(&socket, 1, static_cast<int>(left.count()));
    if (ready > 0) return;
    if (ready == 0) throw PostgresError("no answer within the deadline", "");
    if (errno != EINTR) throw PostgresError("poll: " + std::system_category().message(errno), "");
  }
}

bool PostgresConnection::is_open() {
  pollfd socket{PQsocket(connection_.get()), POLLIN, 0};
  // Notices may be waiting before the end of the stream.
  while (socket.fd >= 0 && poll(&socket, 1, 0) > 0) {
    if (PQconsumeInput(connection_.get()) == 0) return false;
    socket.fd = PQsocket(connection_.get());
  }
  return PQstatus(connection_.get()) == CONNECTION_OK;
}

std::string PostgresConnection::server_version() const {
  const char* version = PQparameterStatus(connection_.get(), "server_version");
  const std::string text = version != nullptr ? version : "";
  return text.substr(0, text.find(' '));  // "15.20 (Debian 15.20-0+deb12u1)"
}

void PostgresConnection::fail() const {
  throw PostgresError(one_line(PQerrorMessage(connection_.get())), "");
}

}  // namespace postoffice
