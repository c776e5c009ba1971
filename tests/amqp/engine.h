#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace postoffice::amqp_test {

// A running broker and what an operator can do to it.
struct Engine {
  enum class Kind { kRabbitMq, kEmbedded };

  Kind kind = Kind::kRabbitMq;
  std::string host;
  uint16_t port = 0;
  std::string user = "guest";
  std::string password = "guest";
  // Loopback addresses on which clients reach it at `port`.
  std::vector<std::string> loopbacks = {};

  // Stops and starts it, gracefully, on the same port and data; returns when it answers.
  std::function<void()> restart = {};
  // A user and a vhost besides guest and "/"; the user may use both vhosts.
  std::string other_user = "conformance";
  std::string other_password = "of amqp";
  std::string other_vhost = "conformance/vhost";
  std::function<void()> add_user_and_vhost = {};
  // As if the disk were nearly full, or no longer.
  std::function<void(bool)> set_disk_alarm = {};

  bool is_rabbitmq() const { return kind == Kind::kRabbitMq; }
};

// Nothing when the environment names no RabbitMQ (see scripts/services). One for the process.
const Engine* rabbitmq();

// One broker for the process, started when first asked for.
const Engine* embedded();

using EngineSource = const Engine* (*)();

}  // namespace postoffice::amqp_test
