#include "tester/options.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "tester/assign.h"

namespace postoffice::tester {
namespace {

constexpr double kMostCallbacksASecond = 100'000;
constexpr int64_t kMostConnections = 4096;
constexpr double kMostConnectionsByItself = 256;
constexpr size_t kBurstConnections = 16;
constexpr int64_t kMostIdsPerCallback = 1'000'000;

void check(const Options& options, std::vector<std::string>& mistakes) {
  if (options.burst && options.rate) {
    mistakes.emplace_back("BURST and RATE exclude each other: give one of them");
  }
  if (options.interval != Options().interval && (options.burst || options.rate)) {
    mistakes.emplace_back(
        "INTERVAL is for one callback after another: leave it out with RATE or BURST");
  }
  options.behaviour.check(mistakes);
}

}  // namespace

Url Options::callback() const {
  // read_options() has seen that it is one.
  Url url = parse_url(callback_url).value_or(Url{});
  if (url.path.starts_with('/')) return url;
  std::string path = "/";
  path += url.path;
  url.path = std::move(path);
  return url;
}

std::optional<std::chrono::nanoseconds> Options::period() const {
  if (burst) return std::nullopt;
  if (!rate) return interval;
  return std::chrono::nanoseconds(std::llround(1e9 / *rate));
}

size_t Options::sender_connections() const {
  if (connections) return static_cast<size_t>(*connections);
  const auto each = period();
  if (!each) return kBurstConnections;
  const double needed =
      std::ceil(std::chrono::duration<double>(timeout) / std::chrono::duration<double>(*each));
  return static_cast<size_t>(std::clamp(needed, 1.0, kMostConnectionsByItself));
}

Settings tester_settings(Options& options) {
  Settings settings;
  settings.declare({"OBJECTS_HOST", "localhost",
                    "Address of the object service; localhost is both loopback addresses, 0.0.0.0 "
                    "all of IPv4.",
                    to_string(&options.objects_host)});
  settings.declare({"OBJECTS_PORT", "9010",
                    "Port of the object service, of /control and of /stats.",
                    to_port(&options.objects_port)});
  for (auto& declaration : behaviour_settings(&options.behaviour)) {
    settings.declare(std::move(declaration));
  }
  settings.declare({"CALLBACK_URL", "http://localhost:9090/callback", "Where callbacks are sent.",
                    to_http_url(&options.callback_url)});
  settings.declare({"INTERVAL", "5s", "Time from one callback to the next.",
                    to_duration(&options.interval, Millis(1), std::chrono::hours(24))});
  settings.declare({"RATE", "", "Callbacks a second, instead of INTERVAL.",
                    to_optional_number(&options.rate, 0.001, kMostCallbacksASecond)});
  settings.declare({"BURST", "false", "true: send callbacks as fast as they are taken.",
                    to_bool(&options.burst)});
  settings.declare({"COUNT", "", "Stop sending after so many callbacks; 0: send none.",
                    to_optional_integer(&options.count, 0, INT64_MAX)});
  settings.declare({"IDS_PER_CALLBACK", "0-199",
                    "How many ids a callback names: one number, or the least and the most, all "
                    "equally likely.",
                    to_range(&options.ids_per_callback, kMostIdsPerCallback)});
  settings.declare({"ID_SPACE", "100", "Ids are 0 to this less one.",
                    to_integer(&options.id_space, 1, INT64_MAX)});
  settings.declare({"ID_MODE", "random",
                    "random: any of them, also several times; sequential: one after another, from "
                    "0 again after the last.",
                    to_choice(&options.id_mode, {"random", "sequential"})});
  settings.declare({"CONNECTIONS", "",
                    "Callbacks under way at once, each on a connection of its own; unset: what the "
                    "rate needs.",
                    to_optional_integer(&options.connections, 1, kMostConnections)});
  settings.declare({"TIMEOUT", "1s", "A callback not answered by then counts as unanswered.",
                    to_duration(&options.timeout, Millis(1), std::chrono::minutes(1))});
  settings.declare({"RESEND", "false", "true: send a callback again until it is answered with 2xx.",
                    to_bool(&options.resend)});
  settings.declare({"SENT_LOG", "",
                    "File that gets a line for each callback sent: unix time in ms, status or 0, "
                    "latency in us, ids.",
                    to_string(&options.sent_log)});
  settings.declare({"EXIT_WHEN_DONE", "false", "true: end when COUNT callbacks were sent.",
                    to_bool(&options.exit_when_done)});
  settings.declare({"SUMMARY", "true", "Print at the end what was sent and answered.",
                    to_bool(&options.summary)});
  return settings;
}

Options read_options(const Settings::Sources& sources) {
  Options options;
  std::vector<std::string> mistakes;
  for (const auto& argument : tester_settings(options).resolve(sources, mistakes)) {
    mistakes.push_back("unexpected argument " + quote_masked(argument) +
                       ": see tester_server --help");
  }
  check(options, mistakes);
  if (!mistakes.empty()) throw BadConfig(std::move(mistakes));
  return options;
}

}  // namespace postoffice::tester
