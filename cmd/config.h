#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.h"
#include "base/time.h"
#include "broker/amqp_url.h"

namespace postoffice {

// Every setting of every subcommand; all three read the same ones, so that one .env serves them
// all.
struct Config {
  std::string server_host;
  uint16_t server_port = 0;
  int64_t http_threads = 0;
  int64_t http_connections = 0;
  int64_t http_connections_per_address = 0;
  std::optional<uint16_t> worker_port;
  std::vector<AmqpUrl> amqp_urls;  // Of the embedded broker when AMQP_URL is unset.
  bool embedded_broker = false;    // AMQP_URL is unset.
  std::string broker_host;
  uint16_t broker_port = 0;
  std::string broker_user;  // Empty: only guest.
  std::string broker_password;
  std::vector<std::string> broker_vhosts;  // With "/".
  uint64_t broker_disk_free_limit = 0;
  std::string database_url;  // Empty: SQLite in data_dir.
  std::string objects_url;
  std::string data_dir;
  Millis object_ttl{};
  uint64_t max_callback_bytes = 0;
  int64_t max_callback_ids = 0;
  Millis confirm_deadline{};
  uint64_t outbox_max_bytes = 0;
  Millis stop_timeout{};
  std::string log_level;
};

// Declares all settings, to be stored in `config`, which outlives the result.
Settings declare_settings(Config& config);

// Reads flags, environment and .env into `config` and returns the arguments that are no flags.
// Appends every mistake.
std::vector<std::string> read_settings(Settings::Sources sources, Config& config,
                                       std::vector<std::string>& mistakes);

}  // namespace postoffice
