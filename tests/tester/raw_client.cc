#include "tests/tester/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace postoffice::tester {
namespace {

constexpr int kTimeoutSeconds = 20;

[[noreturn]] void fail(const char* doing) {
  throw std::system_error(errno, std::generic_category(), doing);
}

}  // namespace

RawClient::RawClient(uint16_t port, const char* address) {
  const bool v6 = std::string_view(address).find(':') != std::string_view::npos;
  fd_ = FileDescriptor(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval timeout{.tv_sec = kTimeoutSeconds, .tv_usec = 0};
  setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  int result = 0;
  if (v6) {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(port);
    inet_pton(AF_INET6, address, &to.sin6_addr);
    result = connect(fd(), reinterpret_cast<sockaddr*>(&to), sizeof to);
  } else {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    inet_pton(AF_INET, address, &to.sin_addr);
    result = connect(fd(), reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  if (result != 0) fail("connect");
}

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size <= 0) fail("send");
    bytes.remove_prefix(static_cast<size_t>(size));
  }
}

bool RawClient::receive_more() {
  std::array<char, 65536> buffer{};
  const ssize_t size = recv(fd(), buffer.data(), buffer.size(), 0);
  if (size < 0) fail("recv");
  received_.append(buffer.data(), static_cast<size_t>(size));
  return size > 0;
}

RawClient::Answer RawClient::receive(bool head_only) {
  size_t head_size = 0;
  while ((head_size = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!receive_more()) throw std::runtime_error("closed before an answer: " + received_);
  }
  Answer answer;
  answer.head = received_.substr(0, head_size + 2);
  answer.status = std::stoi(answer.head.substr(9, 3));
  received_.erase(0, head_size + 4);
  if (head_only) return answer;
  const std::string length_header = "Content-Length: ";
  const size_t length_at = answer.head.find(length_header);
  if (length_at == std::string::npos) throw std::runtime_error("no length: " + answer.head);
  const size_t length = std::stoul(answer.head.substr(length_at + length_header.size()));
  while (received_.size() < length) {
    if (!receive_more()) throw std::runtime_error("closed within an answer: " + received_);
  }
  answer.body = received_.substr(0, length);
  received_.erase(0, length);
  return answer;
}

RawClient::End RawClient::receive_end(std::string* rest) {
  try {
    while (receive_more()) {
    }
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::connection_reset) throw;
    return End::kReset;
  }
  if (rest != nullptr) *rest = received_;
  return End::kClosed;
}

bool RawClient::silent_for(std::chrono::milliseconds time) const {
  pollfd readable{fd(), POLLIN, 0};
  return received_.empty() && poll(&readable, 1, static_cast<int>(time.count())) == 0;
}

}  // namespace postoffice::tester
