#include "bench/load/slow_clients.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"

namespace postoffice::bench {
namespace {

constexpr std::string_view kRequest =
    "POST /callback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: 100000\r\n\r\n";

struct Client {
  FileDescriptor socket;
  size_t sent = 0;
};

void connect_again(Client& client, uint16_t port) {
  client.socket = FileDescriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  client.sent = 0;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  if (connect(client.socket.get(), to, sizeof(address)) != 0) client.socket.close();
}

// False: the server has answered or closed.
bool send_a_byte(Client& client) {
  char answer = 0;
  if (recv(client.socket.get(), &answer, 1, MSG_DONTWAIT) >= 0) return false;
  const char byte = client.sent < kRequest.size() ? kRequest[client.sent] : ' ';
  ++client.sent;
  return send(client.socket.get(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

}  // namespace

SlowClients::SlowClients(uint16_t port, size_t count)
    : thread_([this, port, count] { run(port, count); }) {}

SlowClients::~SlowClients() {
  stopping_ = true;
  thread_.join();
}

void SlowClients::run(uint16_t port, size_t count) const {
  std::vector<Client> clients(count);
  // One after the other, evenly over the second, as clients do that know nothing of each other.
  const std::chrono::nanoseconds gap(1'000'000'000 / static_cast<int64_t>(count));
  auto due = std::chrono::steady_clock::now();
  for (size_t i = 0; !stopping_; i = (i + 1) % count) {
    if (!clients[i].socket.is_open() || !send_a_byte(clients[i])) connect_again(clients[i], port);
    due = std::max(due + gap, std::chrono::steady_clock::now());  // What is late is not caught up.
    std::this_thread::sleep_until(due);
  }
}

}  // namespace postoffice::bench
