#include "base/listening_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <system_error>

#include "base/error.h"

namespace postoffice {
namespace {

constexpr int kBacklog = 4096;

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

Addresses resolve(const std::string& host, const ListenAddress& wanted) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(wanted.port).c_str(), &hints, &found);
  if (error != 0) {
    throw BadConfig({wanted.host_setting + " " + wanted.host +
                     " must be an address or name of this machine: " + gai_strerror(error)});
  }
  return {found, &freeaddrinfo};
}

std::string describe(const sockaddr* address, socklen_t length) {
  std::array<char, NI_MAXHOST> host{};
  getnameinfo(address, length, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST);
  return host.data();
}

void set_port(sockaddr_storage& address, uint16_t port) {
  if (address.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  }
}

[[noreturn]] void refuse(const ListenAddress& wanted, uint16_t port, const std::string& host,
                         int error) {
  const std::string where = wanted.port_setting + " " + std::to_string(port) + " on " + host;
  if (error == EADDRINUSE) {
    throw BadConfig({where + " is in use: stop what listens there, or choose another port"});
  }
  if (error == EACCES) {
    throw BadConfig({where + " needs privileges: choose a port above 1023"});
  }
  if (error == EADDRNOTAVAIL) {
    throw BadConfig(
        {wanted.host_setting + " " + wanted.host + ": " + host + " is no address of this machine"});
  }
  throw BadConfig({where + " cannot be listened on: " + std::generic_category().message(error)});
}

// A listening socket, or errno.
std::optional<FileDescriptor> try_listen(const sockaddr_storage& address, socklen_t length,
                                         bool ipv6_only) {
  FileDescriptor socket(::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return std::nullopt;
  const int on = 1;
  // Ports in TIME_WAIT after a restart are no reason to refuse.
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Inherited by what is accepted.
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (ipv6_only) setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      listen(socket.get(), kBacklog) != 0) {
    const int error = errno;
    socket.close();
    errno = error;
    return std::nullopt;
  }
  return socket;
}

// The addresses of one host; a family that the machine lacks is left out when `optional`.
void listen_on_host(const std::string& host, const ListenAddress& wanted, bool optional,
                    uint16_t& port, std::vector<FileDescriptor>& sockets) {
  const Addresses addresses = resolve(host, wanted);
  const bool several = wanted.host == "localhost" || addresses->ai_next != nullptr;
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    sockaddr_storage address{};
    std::memcpy(&address, at->ai_addr, at->ai_addrlen);
    set_port(address, port);
    auto socket = try_listen(address, at->ai_addrlen, several && address.ss_family == AF_INET6);
    if (socket) {
      if (port == 0) port = bound_port(*socket);
      sockets.push_back(std::move(*socket));
    } else if (!(optional && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))) {
      refuse(wanted, port, describe(at->ai_addr, at->ai_addrlen), errno);
    }
  }
}

std::vector<FileDescriptor> listen_once(const ListenAddress& wanted) {
  std::vector<FileDescriptor> sockets;
  uint16_t port = wanted.port;
  if (wanted.host == "localhost") {
    listen_on_host("127.0.0.1", wanted, /*optional=*/true, port, sockets);
    listen_on_host("::1", wanted, /*optional=*/true, port, sockets);
    if (sockets.empty()) {
      throw BadConfig({wanted.host_setting + " localhost: this machine has no loopback address"});
    }
  } else {
    listen_on_host(wanted.host, wanted, /*optional=*/false, port, sockets);
  }
  return sockets;
}

}  // namespace

std::vector<FileDescriptor> listen_on(const ListenAddress& address) {
  constexpr int kAttempts = 20;
  for (int attempt = 1;; ++attempt) {
    try {
      return listen_once(address);
    } catch (const BadConfig&) {
      // A port that is free on one address may be taken on the other: another one is tried.
      if (address.port != 0 || attempt == kAttempts) throw;
    }
  }
}

uint16_t bound_port(const FileDescriptor& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace postoffice
