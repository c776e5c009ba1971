#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace postoffice {

// Errors are sorted by what the caller does next. Anything else that is thrown is a bug.

// Try again later: a connection was lost, a server is away, a lock timed out. The outcome of what
// was asked may be unknown, so only idempotent work is repeated on it.
class Transient : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Trying again changes nothing: the input itself is refused. `what()` says why.
class Permanent : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The settings or the command line are wrong: print every mistake and exit with 2.
class BadConfig : public std::runtime_error {
 public:
  explicit BadConfig(std::vector<std::string> mistakes);

  // One line each, every line saying what would be right. Never empty.
  const std::vector<std::string>& mistakes() const { return mistakes_; }

 private:
  std::vector<std::string> mistakes_;
};

}  // namespace postoffice
