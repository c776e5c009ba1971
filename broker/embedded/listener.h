#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"

namespace postoffice::embedded {

// Accepts connections on one port of several addresses, whatever errors accepting has: short of
// files, it waits for some.
class Listener {
 public:
  using Accepted = std::function<void(boost::asio::ip::tcp::socket)>;

  // Port 0: any that is free on all of them. An IPv6 address is left out where there is no IPv6.
  // Throws Permanent when the port is in use, or an address not this machine's.
  Listener(boost::asio::io_context& io, const std::vector<std::string>& addresses, uint16_t port,
           Accepted accepted);

  void start();
  void stop();
  uint16_t port() const { return port_; }

 private:
  void listen(const std::string& address);
  void accept(boost::asio::ip::tcp::acceptor& acceptor);

  boost::asio::io_context& io_;
  uint16_t port_;
  const Accepted accepted_;
  std::vector<std::unique_ptr<boost::asio::ip::tcp::acceptor>> acceptors_;
  SteadyClock::time_point complains_at_{};
  bool stopped_ = false;
};

}  // namespace postoffice::embedded
