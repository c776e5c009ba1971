#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace postoffice {

// Takes the text of a setting and stores it; returns what would be right when the text is wrong, as
// the end of a sentence: "a port, 1 to 65535".
using Assign = std::function<std::optional<std::string>(std::string_view)>;

// Ready-made assigners. `target` outlives the Settings.
Assign to_string(std::string* target);
Assign to_port(uint16_t* target);
Assign to_optional_port(std::optional<uint16_t>* target);  // Empty text: none.
Assign to_integer(int64_t* target, int64_t least, int64_t most);
Assign to_size_bytes(uint64_t* target, uint64_t least,
                     uint64_t most = INT64_MAX);  // 1048576, 64KiB, 10GiB
Assign to_duration(Millis* target, Millis least, Millis most);
Assign to_choice(std::string* target, std::vector<std::string> choices);
Assign to_http_url(std::string* target);  // http://host[:port][/path]

// The settings of one program. Each is declared once; a flag (--server-port), an environment
// variable (SERVER_PORT) and a line in .env have the same name. Not thread-safe.
class Settings {
 public:
  struct Declaration {
    std::string name;           // SERVER_PORT
    std::string default_value;  // Empty: unset.
    std::string help;
    Assign assign;
    bool secret = false;  // The value is never shown.
  };

  void declare(Declaration declaration);

  // What the sources say. Flags win over the environment, the environment over .env, .env over
  // defaults.
  struct Sources {
    std::vector<std::string> arguments;              // Without program and subcommand names.
    std::map<std::string, std::string> environment;  // Only declared names are looked at.
    std::optional<std::string> env_file;             // The text of .env, if there is one.
    // Further names that .env may hold because something else reads them, e.g. docker-compose.
    std::vector<std::string> foreign_env_names;
  };

  // Assigns every setting and returns the arguments that are no flags, in order. Appends to
  // `mistakes` one line for each thing wrong: unknown flags and .env names (with the nearest right
  // one), missing and malformed values. A separate value does not start with "--".
  std::vector<std::string> resolve(const Sources& sources,
                                   std::vector<std::string>& mistakes) const;

  // One paragraph for each setting, for --help.
  std::string help() const;
  // The whole .example.env: every setting with its help and default, commented out.
  std::string example_env() const;

  // --server-port for SERVER_PORT.
  static std::string flag_of(std::string_view name);

 private:
  struct Assignment {
    std::string value;
    std::string origin;  // As the user wrote it: "--server-port", "SERVER_PORT", ".env line 3:
                         // SERVER_PORT".
  };
  using Assignments = std::map<std::string, Assignment, std::less<>>;

  std::vector<std::string> parse_flags(const std::vector<std::string>& arguments,
                                       Assignments& chosen,
                                       std::vector<std::string>& mistakes) const;
  const Declaration* find(std::string_view name) const;
  // Of the flag at `index`, when it is one whose value is missing.
  const Declaration* flag_without_value(const std::vector<std::string>& arguments,
                                        size_t index) const;
  std::string nearest_name(std::string_view name) const;

  std::vector<Declaration> declarations_;
};

// The environment of this process.
std::map<std::string, std::string> process_environment();
// The whole file, or nothing when there is none. Throws BadConfig when there is one that cannot be
// read.
std::optional<std::string> read_env_file(const std::string& path);

}  // namespace postoffice
