#include "broker/embedded/listener.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <boost/asio/ip/v6_only.hpp>

#include "base/error.h"

namespace postoffice::embedded {
namespace {

namespace asio = boost::asio;

constexpr int kBacklog = 4096;
constexpr Millis kShortage{100};
constexpr Millis kComplaint{10'000};  // One in that time.

}  // namespace

Listener::Listener(asio::io_context& io, const std::vector<std::string>& addresses, uint16_t port,
                   Accepted accepted)
    : io_(io), port_(port), accepted_(std::move(accepted)) {
  for (const auto& address : addresses) listen(address);
}

void Listener::listen(const std::string& address) {
  boost::system::error_code error;
  const auto ip = asio::ip::make_address(address, error);
  if (error) {
    throw Permanent("BROKER_HOST: \"" + address + "\" is no IP address, such as 127.0.0.1");
  }
  const asio::ip::tcp::endpoint endpoint(ip, port_);
  auto acceptor = std::make_unique<asio::ip::tcp::acceptor>(io_);
  acceptor->open(endpoint.protocol(), error);
  if (error && ip.is_v6()) return;
  if (!error) fcntl(acceptor->native_handle(), F_SETFD, FD_CLOEXEC);
  if (!error) acceptor->set_option(asio::socket_base::reuse_address(true), error);
  if (!error && ip.is_v6()) acceptor->set_option(asio::ip::v6_only(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (error == boost::system::errc::address_not_available && ip.is_v6() && !acceptors_.empty())
    return;
  if (!error) acceptor->listen(kBacklog, error);
  if (error == asio::error::address_in_use) {
    throw Permanent(std::to_string(port_) +
                    " is in use: set AMQP_URL to use that broker, or BROKER_PORT");
  }
  if (error) {
    throw Permanent("the broker cannot listen on " + address + " port " + std::to_string(port_) +
                    ": " + error.message());
  }
  port_ = acceptor->local_endpoint().port();
  acceptors_.push_back(std::move(acceptor));
}

void Listener::start() {
  for (const auto& acceptor : acceptors_) accept(*acceptor);
}

void Listener::stop() {
  stopped_ = true;
  boost::system::error_code error;
  for (const auto& acceptor : acceptors_) acceptor->close(error);
}

void Listener::accept(asio::ip::tcp::acceptor& acceptor) {
  acceptor.async_accept(
      [this, &acceptor](boost::system::error_code error, asio::ip::tcp::socket socket) {
        if (stopped_) return;
        if (!error) {
          accepted_(std::move(socket));
          accept(acceptor);
          return;
        }
        // ECONNABORTED and the like concern one connection; a shortage of files or memory passes.
        if (SteadyClock::now() >= complains_at_) {
          spdlog::warn("broker: a connection could not be accepted: {}", error.message());
          complains_at_ = SteadyClock::now() + kComplaint;
        }
        auto timer = std::make_shared<asio::steady_timer>(io_, kShortage);
        timer->async_wait([this, timer, &acceptor](boost::system::error_code /*error*/) {
          if (!stopped_) accept(acceptor);
        });
      });
}

}  // namespace postoffice::embedded
