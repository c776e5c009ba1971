#include "cmd/config.h"

#include <utility>

#include "base/error.h"
#include "store/store.h"

namespace postoffice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// A callback is one message at least, and RabbitMQ closes the channel on one above its
// max_message_size: 128 MiB in 3.x, 16 MiB in 4.x. The outbox would be stuck behind it for ever.
constexpr uint64_t kMostCallbackBytes = 8 * kMiB;

Assign to_amqp_urls(std::vector<AmqpUrl>* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
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
  settings.declare({"HTTP_THREADS", "64", "Threads of serve that answer requests.",
                    to_integer(&config.http_threads, 1, 4096)});
  settings.declare({"WORKER_PORT", "",
                    "Port of the worker's /healthz, /readyz and /metrics; unset: none.",
                    to_optional_port(&config.worker_port)});
  settings.declare({"AMQP_URL", "amqp://guest:guest@127.0.0.1:5672",
                    "The broker, amqp://user:password@host:port/vhost; several, comma-separated, "
                    "are tried in turn.",
                    to_amqp_urls(&config.amqp_urls), /*secret=*/true});
  settings.declare(
      {"DATABASE_URL", "",
       "PostgreSQL, postgres://user:password@host:port/name; unset: SQLite in DATA_DIR.",
       to_database_url(&config.database_url), /*secret=*/true});
  settings.declare({"OBJECTS_URL", "http://localhost:9010/objects",
                    "The object service; /<id> is added.", to_http_url(&config.objects_url)});
  settings.declare({"DATA_DIR", "./data",
                    "Folder of the outbox and of the SQLite database. One serve owns it.",
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
       to_duration(&config.confirm_deadline, Millis(10), Millis(10'000))});
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
  return declare_settings(config).resolve(sources, mistakes);
}

}  // namespace postoffice
