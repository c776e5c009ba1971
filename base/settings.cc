#include "base/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cxxopts.hpp>
#include <fstream>
#include <numeric>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/url.h"

namespace postoffice {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view unquote(std::string_view text) {
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
                      text.back() == text.front();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

std::string name_of_flag(std::string_view flag) {
  std::string name;
  for (const char c : flag) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// Levenshtein distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string Settings::flag_of(std::string_view name) {
  std::string flag = "--";
  for (const char c : name) {
    flag += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return flag;
}

void Settings::declare(Declaration declaration) { declarations_.push_back(std::move(declaration)); }

const Settings::Declaration* Settings::find(std::string_view name) const {
  const auto found = std::ranges::find(declarations_, name, &Declaration::name);
  return found == declarations_.end() ? nullptr : &*found;
}

// cxxopts throws at one that comes last, and so hides all other mistakes, and takes a flag that
// follows for the value.
const Settings::Declaration* Settings::flag_without_value(const std::vector<std::string>& arguments,
                                                          size_t index) const {
  if (index + 1 < arguments.size() && !arguments[index + 1].starts_with("--")) return nullptr;
  const auto found = std::ranges::find(declarations_, arguments[index],
                                       [](const auto& each) { return flag_of(each.name); });
  return found == declarations_.end() ? nullptr : &*found;
}

std::string Settings::nearest_name(std::string_view name) const {
  const auto nearest = std::ranges::min_element(
      declarations_, {}, [&](const Declaration& d) { return edit_distance(d.name, name); });
  if (nearest == declarations_.end() || edit_distance(nearest->name, name) > 3) return "";
  return nearest->name;
}

std::vector<std::string> Settings::parse_flags(const std::vector<std::string>& arguments,
                                               Assignments& chosen,
                                               std::vector<std::string>& mistakes) const {
  cxxopts::Options options("postoffice");
  options.allow_unrecognised_options();
  for (const auto& declaration : declarations_) {
    options.add_options()(flag_of(declaration.name).substr(2), "", cxxopts::value<std::string>());
  }
  std::vector<const char*> argv = {"postoffice"};
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (const auto* declaration = flag_without_value(arguments, i)) {
      mistakes.push_back(arguments[i] +
                         " needs a value: " + declaration->assign("").value_or(declaration->help));
    } else {
      argv.push_back(arguments[i].c_str());
    }
  }

  std::vector<std::string> positional;
  const auto parsed = options.parse(static_cast<int>(argv.size()), argv.data());
  for (const auto& declaration : declarations_) {
    const std::string flag = flag_of(declaration.name);
    const std::string key = flag.substr(2);
    if (parsed.count(key) != 0) chosen[declaration.name] = {parsed[key].as<std::string>(), flag};
  }
  for (const auto& rest : parsed.unmatched()) {
    if (!rest.starts_with("--")) {
      positional.push_back(rest);
      continue;
    }
    const std::string flag = rest.substr(0, rest.find('='));
    const std::string nearest = nearest_name(name_of_flag(std::string_view(flag).substr(2)));
    mistakes.push_back(
        "unknown flag " + mask_passwords(flag) +
        (nearest.empty() ? "; --help lists all" : "; did you mean " + flag_of(nearest) + "?"));
  }
  return positional;
}

std::vector<std::string> Settings::resolve(const Sources& sources,
                                           std::vector<std::string>& mistakes) const {
  Assignments chosen;

  std::istringstream lines(sources.env_file.value_or(""));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::string_view text = trim(line, kBlanks);
    if (text.empty() || text.front() == '#') continue;
    if (text.starts_with("export ")) text = trim(text.substr(7), kBlanks);
    const std::string where = ".env line " + std::to_string(number) + ": ";
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
      mistakes.push_back(where + "must be NAME=value");
      continue;
    }
    const std::string name(trim(text.substr(0, equals), kBlanks));
    if (find(name) != nullptr) {
      chosen[name] = {std::string(unquote(trim(text.substr(equals + 1), kBlanks))), where + name};
    } else if (std::ranges::find(sources.foreign_env_names, name) ==
               sources.foreign_env_names.end()) {
      const std::string nearest = nearest_name(name);
      mistakes.push_back(
          where + "unknown setting " + mask_passwords(name) +
          (nearest.empty() ? "; --help lists all" : "; did you mean " + nearest + "?"));
    }
  }

  for (const auto& declaration : declarations_) {
    const auto found = sources.environment.find(declaration.name);
    if (found != sources.environment.end()) {
      chosen[declaration.name] = {found->second, declaration.name};
    }
  }

  std::vector<std::string> positional = parse_flags(sources.arguments, chosen, mistakes);

  for (const auto& declaration : declarations_) {
    const auto found = chosen.find(declaration.name);
    const bool given = found != chosen.end();
    const std::string& value = given ? found->second.value : declaration.default_value;
    // An empty value is the same as none, so that `AMQP_URL=` in an environment switches a setting
    // off.
    const std::string& effective = value.empty() ? declaration.default_value : value;
    const auto wanted = declaration.assign(effective);
    if (!wanted) continue;
    const std::string shown = declaration.secret ? "" : ", not " + quote_masked(effective);
    mistakes.push_back((given ? found->second.origin : declaration.name) + " must be " + *wanted +
                       shown);
  }
  return positional;
}

std::string Settings::help() const {
  std::string text;
  for (const auto& declaration : declarations_) {
    text += "  " + flag_of(declaration.name) + " (" + declaration.name + ")";
    text +=
        declaration.default_value.empty() ? "\n" : "  default " + declaration.default_value + "\n";
    text += "      " + declaration.help + "\n";
  }
  return text;
}

std::string Settings::example_env() const {
  std::string text =
      "# The settings of Postoffice. Copy to .env and uncomment what you change. A flag wins over "
      "the\n"
      "# environment, the environment over this file. Printed by: postoffice --example-env\n";
  for (const auto& declaration : declarations_) {
    text += "\n# " + declaration.help + "\n# " + declaration.name + "=" +
            declaration.default_value + "\n";
  }
  return text;
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

std::optional<std::string> read_env_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw BadConfig({path + " cannot be read: " + std::generic_category().message(errno)});
  }
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace postoffice
