#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "base/settings.h"
#include "base/time.h"
#include "base/url.h"
#include "tester/object_behaviour.h"

namespace postoffice::tester {

// What tester_server was told to do. See tester_settings() for the meaning of each.
struct Options {
  std::string objects_host = "localhost";
  uint16_t objects_port = 9010;
  ObjectBehaviour behaviour;

  std::string callback_url;
  Millis interval{5000};
  std::optional<double> rate;  // Callbacks a second, instead of `interval`.
  bool burst = false;
  std::optional<int64_t> count;
  std::pair<int64_t, int64_t> ids_per_callback{0, 199};
  int64_t id_space = 100;
  std::string id_mode = "random";
  std::optional<int64_t> connections;
  Millis timeout{1000};
  bool resend = false;
  std::string sent_log;
  bool exit_when_done = false;
  bool summary = true;

  // CALLBACK_URL in parts.
  Url callback() const;
  // Time from one callback to the next; none: as fast as they are taken.
  std::optional<std::chrono::nanoseconds> period() const;
  // CONNECTIONS, or as many as keep up the rate when every callback takes its whole TIMEOUT, within
  // reason.
  size_t sender_connections() const;
};

// Every setting, bound to `options`, which outlives what is returned.
Settings tester_settings(Options& options);

// Throws BadConfig with every mistake. There is no .env: it belongs to postoffice.
Options read_options(const Settings::Sources& sources);

}  // namespace postoffice::tester
