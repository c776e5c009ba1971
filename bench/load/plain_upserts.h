#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace postoffice::bench {

// What upserts cost that nobody could do without: one prepared statement over libpq, with binary
// arrays, that leaves the same rows as Store::apply(). Blocks without a deadline. Throws
// std::runtime_error.
class PlainUpserts {
 public:
  explicit PlainUpserts(const std::string& url);

  // Rows of `ids`, distinct and rising, online and named now.
  void apply(std::span<const int64_t> ids);

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };

  void check(PGresult* result, ExecStatusType wanted) const;

  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace postoffice::bench
