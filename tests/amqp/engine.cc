#include "tests/amqp/engine.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>

#include "base/log.h"
#include "base/metrics.h"
#include "broker/amqp_url.h"
#include "broker/embedded/broker.h"

namespace postoffice::amqp_test {
namespace {

void services(const std::string& arguments) {
  const char* folder = std::getenv("TEST_SERVICES_DIR");
  if (folder == nullptr) throw std::runtime_error("TEST_SERVICES_DIR is not set");
  const size_t verb_end = arguments.find(' ');
  const std::string command = POSTOFFICE_SOURCE_DIR "/scripts/services " +
                              arguments.substr(0, verb_end) + " '" + folder + "' " +
                              arguments.substr(verb_end + 1) + " >/dev/null";
  // NOLINTNEXTLINE(cert-env33-c, concurrency-mt-unsafe): a command of ours, in one thread.
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

// Erlang for RabbitMQ to run.
void evaluate(const std::string& expression) { services("rabbitmqctl eval '" + expression + "'"); }

Engine make_rabbitmq(const AmqpUrl& url) {
  Engine engine;
  engine.kind = Engine::Kind::kRabbitMq;
  engine.host = url.host;
  engine.port = url.port;
  engine.user = url.user;
  engine.password = url.password;
  engine.loopbacks = {url.host};
  engine.restart = [] { services("restart rabbitmq"); };
  engine.add_user_and_vhost = [user = engine.other_user, password = engine.other_password,
                               vhost = engine.other_vhost] {
    const auto quoted = [](const std::string& text) { return "<<\"" + text + "\">>"; };
    const std::string by = quoted("tests");
    std::string allow;
    for (const std::string& place : {vhost, std::string("/")}) {
      allow += "rabbit_auth_backend_internal:set_permissions(" + quoted(user) + "," +
               quoted(place) + ",<<\".*\">>,<<\".*\">>,<<\".*\">>," + by + "),";
    }
    evaluate("case rabbit_vhost:exists(" + quoted(vhost) +
             ") of true -> ok; false -> rabbit_vhost:add(" + quoted(vhost) + "," + by +
             ") end, rabbit_auth_backend_internal:put_user(#{name => " + quoted(user) +
             ", password => " + quoted(password) + ", tags => <<>>}," + by + ")," + allow + "ok.");
  };
  engine.set_disk_alarm = [](bool on) {
    evaluate(on ? "rabbit_alarm:set_alarm({{resource_limit, disk, node()}, []})."
                : "rabbit_alarm:clear_alarm({resource_limit, disk, node()}).");
  };
  return engine;
}

}  // namespace

const Engine* rabbitmq() {
  static const Engine* const kEngine = []() -> const Engine* {
    const char* url = std::getenv("TEST_AMQP_URL");
    if (url == nullptr) return nullptr;
    std::string wanted;
    const auto urls = parse_amqp_urls(url, wanted);
    if (!urls) throw std::runtime_error("TEST_AMQP_URL: wanted " + wanted);
    static const Engine kMade = make_rabbitmq(urls->front());
    return &kMade;
  }();
  return kEngine;
}

namespace {

// A broker in this process, on a free port and a temporary folder.
class EmbeddedBroker {
 public:
  EmbeddedBroker() {
    set_up_log("warn");  // Before the broker, so that it can still be used when that ends.
    std::string folder = (std::filesystem::temp_directory_path() / "amqp_tests.XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
    options_.folder = folder;
    options_.port = 0;
    options_.user = engine.other_user;
    options_.password = engine.other_password;
    options_.vhosts = {"/", engine.other_vhost};
    options_.free_bytes = [this] { return disk_alarm_ ? uint64_t{0} : uint64_t{1} << 40U; };
    start();
    options_.port = broker_->port();
    engine.kind = Engine::Kind::kEmbedded;
    engine.host = "127.0.0.1";
    engine.port = options_.port;
    engine.loopbacks = options_.addresses;
    engine.restart = [this] { start(); };
    engine.add_user_and_vhost = [] {};  // There from the beginning.
    engine.set_disk_alarm = [this](bool on) { disk_alarm_ = on; };
  }

  ~EmbeddedBroker() {
    broker_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(options_.folder, ignored);
  }

  Engine engine;

 private:
  void start() {
    broker_.reset();
    metrics_.emplace();
    broker_ = std::make_unique<embedded::Broker>(options_, *metrics_);
    broker_->start();
  }

  embedded::Broker::Options options_;
  std::atomic<bool> disk_alarm_ = false;
  std::optional<Metrics> metrics_;
  std::unique_ptr<embedded::Broker> broker_;
};

}  // namespace

const Engine* embedded() {
  static EmbeddedBroker broker;
  return &broker.engine;
}

}  // namespace postoffice::amqp_test
