#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <memory>
#include <optional>
#include <string>

#include "base/metrics.h"
#include "broker/embedded/broker.h"
#include "tests/amqp/raw_client.h"
#include "tests/broker/temp_folder.h"

namespace postoffice::amqp_test {
namespace {

// An IPv4 address of this machine that others reach it by.
std::optional<std::string> outside_address() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return std::nullopt;
  const std::shared_ptr<ifaddrs> all(first, freeifaddrs);
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    if ((each->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN] = {};
    const auto* const address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
    inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text));
    return text;
  }
  return std::nullopt;
}

// RabbitMQ does the same, but its tests listen on loopback only.
TEST(Guest, IsLetInFromThisMachineOnly) {
  const auto address = outside_address();
  if (!address) return;  // Nobody can come from elsewhere.
  const TempFolder folder;
  Metrics metrics;
  embedded::Broker::Options options;
  options.folder = folder.path();
  options.port = 0;
  options.addresses = {"0.0.0.0"};
  options.user = "partner";
  options.password = "secret";
  embedded::Broker broker(options, metrics);
  broker.start();

  Client guest(*address, broker.port());
  guest.send_login({});
  guest.expect_connection_close(403, 0);
  Client partner(*address, broker.port());
  partner.open({.user = "partner", .password = "secret"});
  partner.close();
  Client here("127.0.0.1", broker.port());
  here.open();
  here.close();
}

}  // namespace
}  // namespace postoffice::amqp_test
