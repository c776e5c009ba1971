#include "cmd/config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "store/store.h"
#include "worker/service_address.h"

namespace postoffice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// A callback is one message at least, and RabbitMQ closes the channel on one above its
// max_message_size: 128 MiB in 3.x, 16 MiB in 4.x. The outbox would be stuck behind it for ever.
constexpr uint64_t kMostCallbackBytes = 8 * kMiB;
// With the outbox refusing, an answer takes two deadlines; the callback's handler waits 10 s.
constexpr Millis kMostConfirmDeadline{4000};
constexpr size_t kMostShortStringBytes = 255;  // AMQP 0-9-1 section 4.2.5.3.

Assign to_amqp_urls(std::vector<AmqpUrl>* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    if (text.empty()) return std::nullopt;
    std::string wanted;
    auto urls = parse_amqp_urls(text, wanted);
    if (!urls) return wanted;
    *target = std::move(*urls);
    return std::nullopt;
  };
}

Assign to_database_url(std::string* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    try {
      make_store_factory(std::string(text), "", "");
    } catch (const BadConfig&) {
      return "a PostgreSQL URL like postgres://user:password@host:5432/name, or empty for SQLite";
    }
    *target = text;
    return std::nullopt;
  };
}

Assign to_objects_url(std::string* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    try {
      const ServiceAddress address{std::string(text)};
    } catch (const BadConfig&) {
      return "a URL like http://host:9010/objects, without ? or #";
    }
    *target = text;
    return std::nullopt;
  };
}

Assign to_ip_host(std::string* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    in6_addr address{};
    const std::string host(text);
    if (host != "localhost" && inet_pton(AF_INET, host.c_str(), &address) != 1 &&
        inet_pton(AF_INET6, host.c_str(), &address) != 1) {
      return "localhost or an IP address, like 0.0.0.0";
    }
    *target = host;
    return std::nullopt;
  };
}

// The names and "/", each once.
Assign to_vhosts(std::vector<std::string>* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    *target = {"/"};
    while (!text.empty()) {
      const size_t comma = std::min(text.find(','), text.size());
      const std::string name(trim(text.substr(0, comma), " \t"));
      text.remove_prefix(std::min(comma + 1, text.size()));
      if (name.empty() || name.size() > kMostShortStringBytes) {
        return "names of 1 to 255 bytes, separated by commas";
      }
      if (std::ranges::find(*target, name) == target->end()) target->push_back(name);
    }
    return std::nullopt;
  };
}

// What no setting can say by itself.
void complete(Config& config, std::vector<std::string>& mistakes) {
  if (config.broker_user.empty() != config.broker_password.empty()) {
    mistakes.emplace_back("BROKER_USER and BROKER_PASSWORD go together: set both or neither");
  }
  if (config.broker_user == "guest") {
    mistakes.emplace_back(
        "BROKER_USER: guest is let in from this machine only, with the password "
        "guest; choose another name");
  }
  config.embedded_broker = config.amqp_urls.empty();
  // guest, over loopback, where the broker always listens.
  if (config.embedded_broker) {
    config.amqp_urls = {AmqpUrl{.host = "127.0.0.1", .port = config.broker_port}};
  }
}

// docker-compose reads the same .env for these.
const std::vector<std::string> kComposeNames = {"COMPOSE_PROJECT_NAME", "COMPOSE_FILE",
                                                "RABBITMQ_USER",        "RABBITMQ_PASSWORD",
                                                "POSTGRES_USER",        "POSTGRES_DB",
                                                "POSTGRES_PASSWORD",    "WORKER_THREADS",
                                                "TESTER_INTERVAL",      "TZ"};

}  // namespace

Settings declare_settings(Config& config) {
  Settings settings;
  settings.declare(
      {"SERVER_HOST", "localhost",
       "Address to listen on; localhost is both loopback addresses, 0.0.0.0 all of IPv4.",
       to_string(&config.server_host)});
  settings.declare(
      {"SERVER_PORT", "9090", "Port that serve listens on.", to_port(&config.server_port)});
  settings.declare({"HTTP_THREADS", "64", "Most threads of serve that answer requests.",
                    to_integer(&config.http_threads, 1, 4096)});
  settings.declare(
      {"HTTP_CONNECTIONS", "0",
       "Most HTTP connections of serve; beyond, the longest idle one makes room. 0: as "
       "many as the limit of open files allows.",
       to_integer(&config.http_connections, 0, 1'000'000)});
  settings.declare({"HTTP_CONNECTIONS_PER_ADDRESS", "0",
                    "Most HTTP connections from one address; more are answered 503. 0: three "
                    "quarters of all.",
                    to_integer(&config.http_connections_per_address, 0, 1'000'000)});
  settings.declare({"WORKER_PORT", "",
                    "Port of the worker's /healthz, /readyz and /metrics; unset: none.",
                    to_optional_port(&config.worker_port)});
  settings.declare({"AMQP_URL", "",
                    "RabbitMQ, amqp://user:password@host:port/vhost; several, comma-separated, are "
                    "tried in turn. Unset: serve is its own broker.",
                    to_amqp_urls(&config.amqp_urls), /*secret=*/true});
  settings.declare({"BROKER_PORT", "5672",
                    "Port of serve's own broker; worker connects there when AMQP_URL is unset.",
                    to_port(&config.broker_port)});
  settings.declare({"BROKER_HOST", "localhost",
                    "IP address that serve's own broker listens on beside loopback; 0.0.0.0 is all "
                    "of IPv4. Other machines need BROKER_USER.",
                    to_ip_host(&config.broker_host)});
  settings.declare({"BROKER_USER", "",
                    "A user of serve's own broker beside guest, who is let in from this machine "
                    "only.",
                    to_string(&config.broker_user)});
  settings.declare({"BROKER_PASSWORD", "", "The password of BROKER_USER.",
                    to_string(&config.broker_password), /*secret=*/true});
  settings.declare({"BROKER_VHOSTS", "",
                    "Virtual hosts of serve's own broker beside /, separated by commas.",
                    to_vhosts(&config.broker_vhosts)});
  settings.declare({"BROKER_DISK_FREE_LIMIT", "50MiB",
                    "With less free on disk, serve's own broker holds publishers back.",
                    to_size_bytes(&config.broker_disk_free_limit, 0)});
  settings.declare(
      {"DATABASE_URL", "",
       "PostgreSQL, postgres://user:password@host:port/name; unset: SQLite in DATA_DIR.",
       to_database_url(&config.database_url), /*secret=*/true});
  settings.declare({"OBJECTS_URL", "http://localhost:9010/objects",
                    "The object service; /<id> is added.", to_objects_url(&config.objects_url)});
  settings.declare({"DATA_DIR", "./data",
                    "Folder of the broker, the outbox and the SQLite database. One serve owns it.",
                    to_string(&config.data_dir)});
  settings.declare(
      {"OBJECT_TTL", "30s", "An object that no callback has named for so long is deleted.",
       to_duration(&config.object_ttl, Millis(1000), Millis(std::chrono::hours(24 * 365)))});
  settings.declare({"MAX_CALLBACK_BYTES", "1MiB", "Longest body of one callback; at most 8MiB.",
                    to_size_bytes(&config.max_callback_bytes, 64, kMostCallbackBytes)});
  settings.declare({"MAX_CALLBACK_IDS", "10000", "Most ids in one callback.",
                    to_integer(&config.max_callback_ids, 1, 10'000'000)});
  settings.declare(
      {"CONFIRM_DEADLINE", "250ms",
       "A callback that the broker has not confirmed by then is committed to the outbox.",
       to_duration(&config.confirm_deadline, Millis(10), kMostConfirmDeadline)});
  settings.declare({"OUTBOX_MAX_BYTES", "10GiB", "Most that the outbox takes on disk.",
                    to_size_bytes(&config.outbox_max_bytes, kMiB)});
  settings.declare({"STOP_TIMEOUT", "8s",
                    "After SIGTERM, work in flight has so long to end; what is left is not lost.",
                    to_duration(&config.stop_timeout, Millis(100), Millis(600'000))});
  settings.declare({"LOG_LEVEL", "info", "debug, info, warn or error.",
                    to_choice(&config.log_level, {"debug", "info", "warn", "error"})});
  return settings;
}

std::vector<std::string> read_settings(Settings::Sources sources, Config& config,
                                       std::vector<std::string>& mistakes) {
  sources.foreign_env_names = kComposeNames;
  auto positional = declare_settings(config).resolve(sources, mistakes);
  complete(config, mistakes);
  return positional;
}

}  // namespace postoffice
