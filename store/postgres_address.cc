#include "store/postgres_address.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/libpq.h"

namespace postoffice {
namespace {

constexpr const char* kDefaultPort = "5432";

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

struct FreeText {
  void operator()(char* text) const { PQfreemem(text); }
};

[[noreturn]] void refuse(const std::string& why) {
  throw BadConfig(
      {"DATABASE_URL must be a PostgreSQL URL, postgres://user:password@host:port/name,"
       " or empty for SQLite: " +
       why});
}

// libpq quotes what it could not understand, which may be the password.
std::string without_quotes(std::string_view message) {
  while (message.ends_with('\n')) message.remove_suffix(1);
  const size_t first = message.find('"');
  if (first == std::string_view::npos) return std::string(message);
  const size_t last = message.rfind('"');
  return std::string(message.substr(0, first)) + "..." + std::string(message.substr(last + 1));
}

bool is_url(std::string_view text) {
  return text.starts_with("postgres://") || text.starts_with("postgresql://");
}

// libpq ends the user and password at the first '@', or has none when there is a '/' before, and
// would take, and name in its errors, the rest of a password that has one as host, port or
// database.
bool splits_password(std::string_view url) {
  const std::string_view rest = url.substr(url.find("://") + 3);
  const size_t end = rest.find_first_of("@/");
  if (end == std::string_view::npos) return false;
  const std::string_view after = rest.substr(end + 1);
  return after.substr(0, after.find('?')).find('@') != std::string_view::npos;
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> items;
  while (true) {
    const size_t comma = text.find(',');
    items.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return items;
    text.remove_prefix(comma + 1);
  }
}

// An empty one is the default port.
bool is_port(std::string_view text) {
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  return text.empty() || (error == std::errc() && rest == end && port != 0);
}

std::map<std::string, std::string> values_of(const PQconninfoOption* options) {
  std::map<std::string, std::string> values;
  for (; options->keyword != nullptr; ++options) {
    if (options->val != nullptr) values[options->keyword] = options->val;
  }
  return values;
}

}  // namespace

PostgresAddress::PostgresAddress(const std::string& text) {
  if (is_url(text) && splits_password(text)) {
    refuse("percent-encode the user and the password (@ as %40, / as %2F)");
  }
  char* raw_error = nullptr;
  const Options options(PQconninfoParse(text.c_str(), &raw_error));
  const std::unique_ptr<char, FreeText> error(raw_error);
  if (!options) refuse(error ? without_quotes(error.get()) : "out of memory");
  parameters_ = values_of(options.get());
  const auto ports = parameters_.find("port");
  if (ports == parameters_.end()) return;
  for (const auto& port : split_at_commas(ports->second)) {
    if (is_port(port)) continue;
    refuse("the port must be 1 to 65535; in the user and the password percent-encode : as %3A");
  }
}

std::string PostgresAddress::shown() const {
  const Options options(PQconndefaults());
  auto values = options ? values_of(options.get()) : std::map<std::string, std::string>();
  for (const auto& [keyword, value] : parameters_) values[keyword] = value;
  const std::string& name = values["dbname"].empty() ? values["user"] : values["dbname"];
  const auto hosts = split_at_commas(values["host"].empty() ? values["hostaddr"] : values["host"]);
  const auto ports = split_at_commas(values["port"]);
  std::string shown;
  for (size_t i = 0; i < hosts.size(); ++i) {
    // One port is for all hosts; else there is one for each.
    const std::string& port = ports[std::min(i, ports.size() - 1)];
    shown += (i > 0 ? "," : "") + (hosts[i].empty() ? "local socket" : hosts[i]) + ":" +
             (port.empty() ? kDefaultPort : port);
  }
  return shown + "/" + name;
}

}  // namespace postoffice
