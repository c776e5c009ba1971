#include "bench/processes/callback_server.h"

#include <httplib.h>

#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "bench/processes/engine.h"

namespace postoffice::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);
constexpr auto kPause = std::chrono::milliseconds(10);

void replace(std::string& text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  if (at != std::string::npos) text.replace(at, what.size(), with);
}

}  // namespace

CallbackServer::CallbackServer(std::vector<std::string> arguments,
                               std::map<std::string, std::string> environment, std::string folder)
    : folder_(std::move(folder)), port_(free_port()) {
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  const auto broker_port = std::to_string(free_port());
  const auto fill_in = [&](std::string& text) {
    replace(text, "{port}", std::to_string(port_));
    replace(text, "{broker_port}", broker_port);
    replace(text, "{folder}", folder_);
  };
  for (auto& argument : arguments) fill_in(argument);
  for (auto& [name, value] : environment) fill_in(value);
  process_ = std::make_unique<Process>(arguments, environment, folder_, folder_ + "/log");
  wait_for_answer();
}

template <typename Condition>
void CallbackServer::wait_for(const char* what, const Condition& condition) const {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (resident_bytes(process_->pid()) == 0) give_up("has ended");
    if (std::chrono::steady_clock::now() > deadline) give_up(what);
    std::this_thread::sleep_for(kPause);
  }
}

// Any answer but "not yet" will do: of the peers, none knows the path.
void CallbackServer::wait_for_answer() const {
  httplib::Client client("127.0.0.1", port_);
  wait_for("does not answer", [&] {
    const auto answer = client.Get("/readyz");
    return answer && answer->status != 503;
  });
}

void CallbackServer::wait_for_broker() const {
  const std::string name = "postoffice_broker_connected{connection=\"postoffice serve publisher\"}";
  wait_for("does not reach its broker", [&] { return metric(name) == 1; });
}

std::chrono::microseconds CallbackServer::cpu_used() const {
  std::chrono::microseconds sum{0};
  for (const pid_t pid : family_of(process_->pid())) sum += cpu_time(pid);
  return sum;
}

double CallbackServer::via_outbox() const {
  return metric("postoffice_callbacks_accepted_total{via=\"outbox\"}");
}

double CallbackServer::metric(const std::string& name) const {
  httplib::Client client("127.0.0.1", port_);
  const auto answer = client.Get("/metrics");
  if (!answer) give_up("does not answer");
  std::istringstream lines(answer->body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name)) return std::stod(line.substr(line.rfind(' ')));
  }
  return 0;
}

void CallbackServer::give_up(const char* what) const {
  throw std::runtime_error("the server in " + folder_ + " " + what + ": see its log");
}

}  // namespace postoffice::bench
