#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench/processes/process.h"

namespace postoffice::bench {

// Asks every 20 ms until `holds`. Throws std::runtime_error naming `what` after `most`.
void wait_until(const std::string& what, const std::function<bool()>& holds,
                std::chrono::seconds most = std::chrono::seconds(60));

// A process that answers HTTP on a port of 127.0.0.1. Killed when the object goes.
class Service {
 public:
  using Settings = std::map<std::string, std::string>;

  // Starts it; output goes to `log`. Returns at once.
  Service(const std::vector<std::string>& command, const Settings& environment,
          const std::string& folder, const std::string& log, uint16_t port)
      : process_(command, environment, folder, log), port_(port) {}

  pid_t pid() const { return process_.pid(); }
  uint16_t port() const { return port_; }
  void kill() { process_.kill(); }

  // Waits until `path` is answered with 200.
  void wait_for(const std::string& path) const;
  // The body of a 200. Throws std::runtime_error on anything else.
  std::string get(const std::string& path) const;
  // Of /metrics: the value of the line that begins with these words; 0 when there is none.
  double metric(const std::string& name_and_labels) const;

 private:
  Process process_;
  const uint16_t port_;
};

}  // namespace postoffice::bench
