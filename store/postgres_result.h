#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/time.h"
#include "store/libpq.h"

namespace postoffice {

// The rows of one statement, in PostgreSQL's binary format. Rows and columns count from 0. The
// types are the caller's to know; a column of another width throws Transient: somebody altered the
// table.
class PostgresResult {
 public:
  PostgresResult() = default;
  explicit PostgresResult(PGresult* result) : result_(result) {}

  explicit operator bool() const { return result_ != nullptr; }
  PGresult* handle() const { return result_.get(); }

  int rows() const { return PQntuples(handle()); }
  bool is_null(int row, int column) const { return PQgetisnull(handle(), row, column) == 1; }
  int64_t integer(int row, int column) const;  // bigint
  bool boolean(int row, int column) const;
  UnixTime time(int row, int column) const;  // timestamptz, rounded down to milliseconds
  std::string text(int row, int column) const;

 private:
  int64_t big_endian(int row, int column, int bytes) const;

  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

}  // namespace postoffice
