#include "bench/load/idle_connections.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace postoffice::bench {
namespace {

constexpr timeval kTimeout{10, 0};
constexpr std::string_view kRequest = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

FileDescriptor connect_to(uint16_t port) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kTimeout, sizeof(kTimeout));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("a connection was refused");
  }
  return fd;
}

// An answer this short comes in one piece, or in two, of which the second stays unread.
void ask(int fd) {
  std::array<char, 1024> answer;
  if (send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0 ||
      recv(fd, answer.data(), answer.size(), 0) <= 0) {
    throw std::runtime_error("a connection was not answered");
  }
}

}  // namespace

IdleConnections::IdleConnections(uint16_t port, size_t count) {
  sockets_.reserve(count);
  while (sockets_.size() < count) {
    auto fd = connect_to(port);
    ask(fd.get());
    sockets_.push_back(std::move(fd));
  }
}

}  // namespace postoffice::bench
