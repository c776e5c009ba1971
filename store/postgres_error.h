#pragma once

#include <stdexcept>
#include <string>

namespace postoffice {

// What PostgreSQL or libpq answered other than success. Users of PostgresConnection translate it
// into the error that their own callers know.
class PostgresError : public std::runtime_error {
 public:
  // `sqlstate` is empty when the connection failed or the deadline passed. It is shown.
  PostgresError(const std::string& what, const std::string& sqlstate)
      : std::runtime_error(sqlstate.empty() ? what : what + " (SQLSTATE " + sqlstate + ")"),
        sqlstate_(sqlstate) {}

  // Five characters; see "PostgreSQL Error Codes" in its documentation.
  const std::string& sqlstate() const { return sqlstate_; }

  bool is_of_data() const { return in_class("22") || in_class("23"); }
  // The connection, the server or what others do is the trouble: the same statement may pass later.
  bool is_of_circumstances() const {
    return sqlstate_.empty() || in_class("08") || in_class("40") || in_class("53") ||
           in_class("55") || in_class("57") || in_class("58");
  }
  bool is_undefined_table() const { return sqlstate_ == "42P01"; }

 private:
  bool in_class(const char* two) const { return sqlstate_.starts_with(two); }

  std::string sqlstate_;
};

}  // namespace postoffice
