#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/processes/process.h"

namespace postoffice::bench {

// A program that answers POST /callback on a free port of 127.0.0.1, in a new folder; killed with
// the object. Everything throws std::runtime_error.
class CallbackServer {
 public:
  // In `arguments` and the values of `environment`, {port} stands for the port, {folder} for the
  // folder, whatever was there before is gone, and {broker_port} for another free port. Returns
  // when it answers.
  CallbackServer(std::vector<std::string> arguments, std::map<std::string, std::string> environment,
                 std::string folder);

  uint16_t port() const { return port_; }
  pid_t pid() const { return process_->pid(); }
  // CPU that it and all processes that come from it have used.
  std::chrono::microseconds cpu_used() const;

  // Of serve. Returns when its publisher is connected.
  void wait_for_broker() const;
  // In /metrics: the value of the first metric that begins with `name`; 0 when there is none.
  double metric(const std::string& name) const;
  // Of serve: callbacks that it kept in its outbox.
  double via_outbox() const;

 private:
  void wait_for_answer() const;
  // Throws when it does not come true in time, or the program ends before.
  template <typename Condition>
  void wait_for(const char* what, const Condition& condition) const;
  [[noreturn]] void give_up(const char* what) const;

  const std::string folder_;
  const uint16_t port_;
  std::unique_ptr<Process> process_;
};

}  // namespace postoffice::bench
