#pragma once

#include <memory>
#include <string>

namespace postoffice::e2e {

// A broker in a process of its own, and what can happen to it. When the object goes, the broker is
// as it was found.
class BrokerControl {
 public:
  virtual ~BrokerControl() = default;
  BrokerControl() = default;
  BrokerControl(const BrokerControl&) = delete;
  BrokerControl& operator=(const BrokerControl&) = delete;

  virtual std::string url() const = 0;
  virtual void kill() = 0;  // SIGKILL
  virtual void stop() = 0;  // In order.
  // Starts it again and waits until it answers.
  virtual void up() = 0;
  virtual void pause() = 0;  // SIGSTOP
  virtual void resume() = 0;
  // From then on it lets no publisher in, or does so again.
  virtual void set_alarm(bool on) = 0;
};

// RabbitMQ of scripts/services.
std::unique_ptr<BrokerControl> make_rabbitmq_control();
// The embedded broker of a `serve` of its own, with its data in `folder`; started.
std::unique_ptr<BrokerControl> make_embedded_broker_control(const std::string& folder);

}  // namespace postoffice::e2e
