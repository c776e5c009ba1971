#include "bench/processes/engine.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "base/file_descriptor.h"

namespace postoffice::bench {

uint16_t free_port() {
  const FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(fd.get(), any, bytes) != 0 || getsockname(fd.get(), any, &bytes) != 0) {
    throw std::runtime_error("no free port");
  }
  return ntohs(address.sin_port);
}

Serve::Serve(std::string program, std::string folder)
    : program_(std::move(program)),
      folder_(std::move(folder)),
      broker_port_(free_port()),
      server_port_(free_port()) {
  std::filesystem::create_directories(folder_);
}

void Serve::start() {
  process_ = std::make_unique<Process>(std::vector<std::string>{program_, "serve"},
                                       std::map<std::string, std::string>{
                                           {"BROKER_PORT", std::to_string(broker_port_)},
                                           {"SERVER_PORT", std::to_string(server_port_)},
                                           {"DATA_DIR", folder_ + "/data"},
                                       },
                                       folder_, folder_ + "/serve.log");
}

RabbitMq::RabbitMq(std::string script, std::string folder)
    : script_(std::move(script)), folder_(std::move(folder)) {
  read_environment();
}

void RabbitMq::read_environment() {
  std::ifstream file(folder_ + "/env");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("AMQP_URL=")) {
      port_ = static_cast<uint16_t>(std::stoi(line.substr(line.rfind(':') + 1)));
    }
    if (line.starts_with("RABBITMQ_PID=")) pid_ = std::stoi("0" + line.substr(line.find('=') + 1));
  }
  if (port_ == 0 || pid_ == 0) throw std::runtime_error(folder_ + ": RabbitMQ does not run");
}

// The Erlang VM, what it started, and epmd, which runs beside it.
std::vector<pid_t> RabbitMq::processes() const {
  auto all = family_of(pid_);
  pid_t epmd = 0;
  std::ifstream(folder_ + "/epmd.pid") >> epmd;
  if (epmd > 0) all.push_back(epmd);
  return all;
}

std::unique_ptr<Process> RabbitMq::services(const std::string& verb) {
  const char* const path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread.
  return std::make_unique<Process>(
      std::vector<std::string>{script_, verb, folder_, "rabbitmq"},
      std::map<std::string, std::string>{{"PATH", path != nullptr ? path : "/usr/bin:/bin"}},
      folder_, folder_ + "/services.log");
}

void RabbitMq::kill() {
  if (services("kill")->wait() != 0) {
    throw std::runtime_error("scripts/services kill failed: see " + folder_ + "/services.log");
  }
}

void RabbitMq::start() { starting_ = services("up"); }

void RabbitMq::started() {
  if (std::exchange(starting_, nullptr)->wait() != 0) {
    throw std::runtime_error("scripts/services up failed: see " + folder_ + "/services.log");
  }
  read_environment();
}

}  // namespace postoffice::bench
