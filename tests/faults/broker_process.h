#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "tests/amqp/raw_client.h"
#include "tests/e2e/process.h"

namespace postoffice::faults_test {

// The embedded broker alone in a process (faults_broker), with a folder that goes when the test has
// passed.
class BrokerProcess {
 public:
  explicit BrokerProcess(uint32_t segment_bytes);
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  // Starts it without waiting.
  void start();
  // Waits until it answers a handshake. Throws std::runtime_error when it does not.
  void await();
  // SIGKILL.
  void kill();
  // kill(), start() and await().
  void restart();

  uint16_t port() const { return port_; }
  std::filesystem::path log_folder() const { return folder_ / "log"; }
  pid_t pid() const { return process_->pid(); }
  bool running() { return process_->running(); }
  std::string output() const { return process_->output(); }
  // Resident memory in bytes, now.
  uint64_t resident_bytes() const;
  // Those it listens on, and one for each connection.
  int open_sockets() const;
  // A client that has opened its connection.
  std::unique_ptr<amqp_test::Client> connect(const amqp_test::OpenOptions& options = {}) const;

 private:
  const std::filesystem::path folder_;
  const uint16_t port_;
  const uint32_t segment_bytes_;
  std::unique_ptr<e2e::Process> process_;
};

}  // namespace postoffice::faults_test
