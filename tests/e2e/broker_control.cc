#include "tests/e2e/broker_control.h"

#include <csignal>
#include <iostream>
#include <stdexcept>

#include "tests/e2e/process.h"
#include "tests/e2e/raw_broker.h"
#include "tests/e2e/services.h"

namespace postoffice::e2e {
namespace {

class RabbitMqControl final : public BrokerControl {
 public:
  ~RabbitMqControl() override {
    if (!touched_) return;
    try {
      services("resume", {"rabbitmq"});
      services("up", {"rabbitmq"});
      services("rabbitmqctl", {"set_vm_memory_high_watermark", "0.6"});
    } catch (const std::exception& error) {
      std::cerr << "RabbitMQ is not as it was: " << error.what() << "\n";
    }
  }

  std::string url() const override { return required_variable("TEST_AMQP_URL"); }
  // RabbitMQ (3.10) is told to write down first which queues it has: it does so every 500 ms only,
  // and never finds a quorum queue again that was deleted and declared anew just before.
  void kill() override {
    touched_ = true;
    services("rabbitmqctl", {"eval", "[ok = dets:sync(Table) || Table <- dets:all()]."});
    services("kill", {"rabbitmq"});
  }
  void stop() override {
    touched_ = true;
    services("down", {"rabbitmq"});
  }
  void up() override { services("up", {"rabbitmq"}); }
  void pause() override {
    touched_ = true;
    services("pause", {"rabbitmq"});
  }
  void resume() override { services("resume", {"rabbitmq"}); }
  void set_alarm(bool on) override {
    touched_ = true;
    services("rabbitmqctl", {"set_vm_memory_high_watermark", on ? "0" : "0.6"});
  }

 private:
  bool touched_ = false;
};

class EmbeddedBrokerControl final : public BrokerControl {
 public:
  explicit EmbeddedBrokerControl(std::string folder)
      : folder_(std::move(folder)), broker_port_(free_port()), http_port_(free_port()) {
    up();
  }

  std::string url() const override {
    return "amqp://guest:guest@127.0.0.1:" + std::to_string(broker_port_);
  }
  void kill() override { process_->kill(); }
  void stop() override { process_->stop(); }
  void up() override {
    if (process_ && process_->running()) return;
    process_ = std::make_unique<Process>(
        std::vector<std::string>{std::string(POSTOFFICE_BIN_DIR) + "/postoffice", "serve"},
        Process::Environment{{"DATA_DIR", folder_ + "/broker"},
                             {"SERVER_PORT", std::to_string(http_port_)},
                             {"BROKER_PORT", std::to_string(broker_port_)},
                             {"BROKER_DISK_FREE_LIMIT", alarm_ ? "1000000TiB" : "1MiB"}},
        folder_, "broker");
    const bool answers = eventually(Seconds(30), [&] {
      if (!process_->running()) return true;
      try {
        RawBroker broker(url());
        return true;
      } catch (const std::exception&) {
        return false;
      }
    });
    if (!answers || !process_->running()) {
      throw std::runtime_error("the broker did not start: " + process_->output());
    }
  }
  void pause() override { process_->signal(SIGSTOP); }
  void resume() override { process_->signal(SIGCONT); }
  // It has no way to be told while it runs.
  void set_alarm(bool on) override {
    alarm_ = on;
    stop();
    up();
  }

 private:
  std::string folder_;
  uint16_t broker_port_;
  uint16_t http_port_;
  bool alarm_ = false;
  std::unique_ptr<Process> process_;
};

}  // namespace

std::unique_ptr<BrokerControl> make_rabbitmq_control() {
  return std::make_unique<RabbitMqControl>();
}

std::unique_ptr<BrokerControl> make_embedded_broker_control(const std::string& folder) {
  return std::make_unique<EmbeddedBrokerControl>(folder);
}

}  // namespace postoffice::e2e
