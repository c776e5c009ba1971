#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/processes/process.h"

namespace postoffice::bench {

// Of 127.0.0.1, for a process that is to listen there.
uint16_t free_port();

// A broker on loopback that can be killed and started again. Everything throws std::runtime_error.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual uint16_t port() const = 0;
  // The process that does the work, and all that are there for it.
  virtual pid_t pid() const = 0;
  virtual std::vector<pid_t> processes() const = 0;
  // Of its messages.
  virtual std::string folder() const = 0;
  // SIGKILL.
  virtual void kill() = 0;
  // Returns at once; ready when it answers.
  virtual void start() = 0;
  // After start(), once it answers.
  virtual void started() {}
};

// `postoffice serve` without AMQP_URL, with its data below `folder`, as its user would run it.
class Serve final : public Engine {
 public:
  Serve(std::string program, std::string folder);

  uint16_t port() const override { return broker_port_; }
  pid_t pid() const override { return process_->pid(); }
  std::vector<pid_t> processes() const override { return {pid()}; }
  std::string folder() const override { return folder_ + "/data/broker"; }
  void kill() override { process_->kill(); }
  void start() override;

 private:
  const std::string program_;
  const std::string folder_;
  const uint16_t broker_port_;
  const uint16_t server_port_;
  std::unique_ptr<Process> process_;
};

// The private RabbitMQ of scripts/services, which runs.
class RabbitMq final : public Engine {
 public:
  // `script` is scripts/services, `folder` what was given to it.
  RabbitMq(std::string script, std::string folder);

  uint16_t port() const override { return port_; }
  pid_t pid() const override { return pid_; }
  std::vector<pid_t> processes() const override;
  std::string folder() const override { return folder_ + "/rabbitmq/data"; }
  void kill() override;
  void start() override;
  void started() override;

 private:
  std::unique_ptr<Process> services(const std::string& verb);
  void read_environment();

  const std::string script_;
  const std::string folder_;
  uint16_t port_ = 0;
  pid_t pid_ = 0;
  std::unique_ptr<Process> starting_;
};

}  // namespace postoffice::bench
