#include "cmd/announce.h"

namespace postoffice {

std::string describe_engines(const Config& config, const StoreFactory& factory) {
  std::string brokers;
  for (const auto& url : config.amqp_urls)
    brokers += (brokers.empty() ? "" : " or ") + url.address();
  if (config.embedded_broker) brokers = "embedded at " + brokers;
  return "broker " + brokers + ", database " + factory()->description();
}

}  // namespace postoffice
