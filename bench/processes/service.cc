#include "bench/processes/service.h"

#include <httplib.h>

#include <sstream>
#include <stdexcept>
#include <thread>

namespace postoffice::bench {

void wait_until(const std::string& what, const std::function<bool()>& holds,
                std::chrono::seconds most) {
  const auto deadline = std::chrono::steady_clock::now() + most;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error(what + ": not within " + std::to_string(most.count()) + " s");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void Service::wait_for(const std::string& path) const {
  wait_until("answer 200 of port " + std::to_string(port_) + path, [&] {
    const auto answer = httplib::Client("127.0.0.1", port_).Get(path);
    return answer && answer->status == 200;
  });
}

std::string Service::get(const std::string& path) const {
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(std::chrono::seconds(30));
  const auto answer = client.Get(path);
  if (!answer || answer->status != 200) {
    throw std::runtime_error("port " + std::to_string(port_) + path + ": " +
                             (answer ? std::to_string(answer->status) : to_string(answer.error())));
  }
  return answer->body;
}

double Service::metric(const std::string& name_and_labels) const {
  std::istringstream lines(get("/metrics"));
  const std::string start = name_and_labels + " ";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(start)) return std::stod(line.substr(start.size()));
  }
  return 0;
}

}  // namespace postoffice::bench
