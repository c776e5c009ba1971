#include "worker/service_address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/wakeup.h"
#include "tests/worker/object_service.h"

namespace postoffice::testing {
namespace {

using std::chrono::seconds;

ServiceAddress::Endpoint loopback(uint16_t port) {
  ServiceAddress::Endpoint endpoint;
  auto& address = reinterpret_cast<sockaddr_in&>(endpoint.address);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  endpoint.length = sizeof address;
  return endpoint;
}

// An address that drops what asks for a connection: a listener whose backlog is full.
class SilentListener {
 public:
  SilentListener() {
    auto endpoint = loopback(0);
    auto* address = reinterpret_cast<sockaddr*>(&endpoint.address);
    listener_ = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener_.get(), address, endpoint.length), 0);
    EXPECT_EQ(listen(listener_.get(), 0), 0);
    getsockname(listener_.get(), address, &endpoint.length);
    endpoint_ = endpoint;
    for (int i = 0; i < 4; ++i) {
      waiting_.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)::connect(waiting_.back().get(), address, endpoint.length);
    }
  }
  const ServiceAddress::Endpoint& endpoint() const { return endpoint_; }

 private:
  FileDescriptor listener_;
  std::vector<FileDescriptor> waiting_;
  ServiceAddress::Endpoint endpoint_;
};

ServiceAddress address_of(std::vector<ServiceAddress::Endpoint> endpoints) {
  auto known = std::make_shared<const ServiceAddress::Endpoints>(std::move(endpoints));
  return {"http://service:9010/objects", [known](const auto&, auto, auto&) { return known; }};
}

// Connects; how long it took. Fails the test when there is no connection.
SteadyClock::duration connect_to(ServiceAddress& address, Millis timeout) {
  const Wakeup never;
  std::string why;
  const auto began = SteadyClock::now();
  const auto fd = address.connect(timeout, began + seconds(20), never.fd(), why);
  EXPECT_TRUE(fd.is_open()) << why;
  return SteadyClock::now() - began;
}

TEST(ServiceAddress, AUrlThatCannotEndInAnIdIsRefused) {
  for (const char* url : {"http://h/objects?k=1", "http://h/objects#x", "http://h?", "https://h"}) {
    EXPECT_THROW(ServiceAddress{url}, BadConfig) << url;
  }
}

TEST(ServiceAddress, ASilentAddressLeavesTimeForTheNextWhichIsTheFirstFromThenOn) {
  const SilentListener silent;
  const ObjectService service;
  auto address = address_of({silent.endpoint(), loopback(service.port())});
  const auto timeout = seconds(6);
  EXPECT_GE(connect_to(address, timeout), timeout / 2);
  EXPECT_LT(connect_to(address, timeout), timeout / 2);
}

TEST(ServiceAddress, EachSilentAddressHasItsShare) {
  const SilentListener one;
  const SilentListener two;
  const ObjectService service;
  auto address = address_of({one.endpoint(), two.endpoint(), loopback(service.port())});
  EXPECT_LT(connect_to(address, seconds(6)), seconds(6));
}

TEST(ServiceAddress, NoneIsTriedAfterTheStop) {
  const SilentListener silent;
  const ObjectService service;
  auto address = address_of({silent.endpoint(), loopback(service.port())});
  const Wakeup stop;
  stop.ring();
  std::string why;
  const auto deadline = SteadyClock::now() + seconds(20);
  EXPECT_FALSE(address.connect(seconds(20), deadline, stop.fd(), why).is_open());
  EXPECT_LT(SteadyClock::now(), deadline - seconds(10));
  EXPECT_EQ(service.connections(), 0);
}

}  // namespace
}  // namespace postoffice::testing
