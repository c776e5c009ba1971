#pragma once

#include <map>
#include <string>

namespace postoffice {

// Where a PostgreSQL database is and how to get in: a URL, postgres:// or postgresql://, or libpq's
// "host=... dbname=...". See "Connection Strings" in the libpq documentation.
class PostgresAddress {
 public:
  // Throws BadConfig naming DATABASE_URL; nothing of `text` is repeated, since a mistyped password
  // may be anywhere in it.
  explicit PostgresAddress(const std::string& text);

  // What `text` says, by libpq's keyword.
  const std::map<std::string, std::string>& parameters() const { return parameters_; }

  // "localhost:5432/postoffice", with libpq's defaults for what is not given.
  std::string shown() const;

 private:
  std::map<std::string, std::string> parameters_;
};

}  // namespace postoffice
