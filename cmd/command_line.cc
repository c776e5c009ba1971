#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/open_files.h"
#include "base/text.h"
#include "base/url.h"
#include "cmd/commands.h"

namespace postoffice {
namespace {

constexpr int kExitBadConfig = 2;
constexpr int64_t kMostFetchThreads = 100'000;
// Open files besides one for each fetch: log, broker, database, HTTP.
constexpr rlim_t kOtherFiles = 100;

constexpr const char* kUsage =
    "usage: postoffice serve [settings]      accept callbacks on /callback, expire objects\n"
    "       postoffice worker N [settings]   fetch the details of N objects at once and store "
    "them\n"
    "       postoffice migrate [--status]    bring the database schema up to date, or list what is "
    "applied\n"
    "       postoffice --version | --help | --example-env\n";

void print_help() {
  Config config;
  std::cout << kUsage
            << "\nSettings, each a flag, an environment variable and a line in ./.env (the first "
               "found wins):\n"
            << declare_settings(config).help();
}

// N of `worker N`, taken out of `positional`.
std::optional<size_t> take_fetch_threads(std::vector<std::string>& positional,
                                         std::vector<std::string>& mistakes) {
  const std::string wanted =
      "worker N: N is how many objects are fetched at once, a whole number, 1 to " +
      std::to_string(kMostFetchThreads);
  if (positional.empty()) {
    mistakes.push_back(wanted + "; none was given");
    return std::nullopt;
  }
  const std::string text = positional.front();
  positional.erase(positional.begin());
  const auto count = parse_integer<int64_t>(text);
  if (!count || *count < 1 || *count > kMostFetchThreads) {
    mistakes.push_back(wanted + ", not " + quote_masked(text));
    return std::nullopt;
  }
  const rlim_t files = raise_open_files();
  if (static_cast<rlim_t>(*count) + kOtherFiles > files) {
    mistakes.push_back("worker " + text + " needs " +
                       std::to_string(*count + static_cast<int64_t>(kOtherFiles)) +
                       " open files, and the limit is " + std::to_string(files) +
                       ": raise it (ulimit -n) or lower N");
    return std::nullopt;
  }
  return static_cast<size_t>(*count);
}

// True and removed from `arguments` when `flag` is among them.
bool take_flag(std::vector<std::string>& arguments, const std::string& flag) {
  return std::erase(arguments, flag) != 0;
}

int refuse(const std::vector<std::string>& mistakes) {
  for (const auto& mistake : mistakes) std::cerr << "postoffice: " << mistake << "\n";
  return kExitBadConfig;
}

int run_subcommand(const std::string& command, std::vector<std::string> arguments) {
  std::vector<std::string> mistakes;
  const bool status_only = command == "migrate" && take_flag(arguments, "--status");
  Config config;
  auto positional = read_settings({.arguments = std::move(arguments),
                                   .environment = process_environment(),
                                   .env_file = read_env_file(".env"),
                                   .foreign_env_names = {}},
                                  config, mistakes);
  std::optional<size_t> fetch_threads;
  if (command == "worker") fetch_threads = take_fetch_threads(positional, mistakes);
  for (const auto& argument : positional) {
    mistakes.push_back("unexpected argument " + quote_masked(argument) + ": see postoffice --help");
  }
  if (!mistakes.empty()) return refuse(mistakes);

  set_up_log(config.log_level);
  if (command == "migrate") return run_migrate(config, status_only);
  Signals signals;
  if (command == "worker") return run_worker(config, *fetch_threads, signals);
  raise_open_files();
  return run_serve(config, signals);
}

}  // namespace

int run_command_line(const std::vector<std::string>& arguments) {
  try {
    const auto has = [&](const char* flag) {
      return std::ranges::find(arguments, flag) != arguments.end();
    };
    if (has("--help") || has("-h")) {
      print_help();
      return 0;
    }
    if (arguments.empty()) {
      std::cerr << kUsage;
      return kExitBadConfig;
    }
    const std::string& command = arguments.front();
    if (command == "--version") {
      std::cout << "postoffice " << POSTOFFICE_VERSION << "\n";
      return 0;
    }
    if (command == "--example-env") {
      Config config;
      std::cout << declare_settings(config).example_env();
      return 0;
    }
    if (command != "serve" && command != "worker" && command != "migrate") {
      return refuse({"unknown subcommand " + quote_masked(command) +
                     ": it must be serve, worker N or migrate"});
    }
    return run_subcommand(command, {arguments.begin() + 1, arguments.end()});
  } catch (const BadConfig& error) {
    return refuse(error.mistakes());
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
    return 1;
  }
}

}  // namespace postoffice
