#include "cmd/embedded_broker.h"

#include <utility>

#include "base/error.h"

namespace postoffice {
namespace {

// Loopback is always among them: serve and worker connect there.
std::vector<std::string> addresses_of(const std::string& host) {
  if (host == "0.0.0.0") return {host, "::1"};
  if (host == "::") return {"127.0.0.1", host};
  std::vector<std::string> addresses = {"127.0.0.1", "::1"};
  if (host != "localhost" && host != "127.0.0.1" && host != "::1") addresses.push_back(host);
  return addresses;
}

}  // namespace

std::unique_ptr<embedded::Broker> make_embedded_broker(const Config& config, Metrics& metrics,
                                                       std::function<void()> failed) {
  if (!config.embedded_broker) return nullptr;
  embedded::Broker::Options options;
  options.folder = config.data_dir + "/broker";
  options.port = config.broker_port;
  options.addresses = addresses_of(config.broker_host);
  options.user = config.broker_user;
  options.password = config.broker_password;
  options.vhosts = config.broker_vhosts;
  options.least_free_bytes = config.broker_disk_free_limit;
  options.failed = std::move(failed);
  try {
    return std::make_unique<embedded::Broker>(options, metrics);
  } catch (const Permanent& error) {
    throw BadConfig({error.what()});
  }
}

}  // namespace postoffice
