#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/file_descriptor.h"

namespace postoffice {

// A client that sends exactly the bytes it is told to.
class RawConnection {
 public:
  // From `own_address`, one of 127.0.0.0/8, if it is given.
  explicit RawConnection(uint16_t port, const char* own_address = nullptr)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    if (own_address != nullptr) {
      inet_pton(AF_INET, own_address, &address.sin_addr);
      static_cast<void>(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address));
    }
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ =
        ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
        (errno == EINTR && goes_on_connecting());
  }

  bool connected() const { return connected_; }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  // Leaves nothing behind when it closes, for tests that connect thousands of times.
  void reset_at_end() {
    const linger off{.l_onoff = 1, .l_linger = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &off, sizeof off);
  }
  void finish_sending() { shutdown(socket_.get(), SHUT_WR); }

  struct Answer {
    int status = 0;
    std::string head;
    std::string body;
  };

  // The next answer, by its Content-Length; nothing when the connection ends or time runs out
  // before it. Answers to HEAD have no body, which is seen when another answer follows at once.
  std::optional<Answer> receive(bool head_only = false) {
    while (input_.find("\r\n\r\n") == std::string::npos) {
      if (!receive_more()) return std::nullopt;
    }
    Answer answer;
    const size_t head = input_.find("\r\n\r\n") + 4;
    answer.head = input_.substr(0, head);
    answer.status = std::stoi(answer.head.substr(9, 3));
    const auto length_at = answer.head.find("Content-Length: ");
    size_t length = 0;
    if (length_at != std::string::npos && !head_only) {
      length = std::stoul(answer.head.substr(length_at + 16));
    }
    const auto has_no_body = [&] { return input_.compare(head, 7, "HTTP/1.") == 0; };
    while (input_.size() < head + length && !has_no_body()) {
      if (!receive_more()) return std::nullopt;
    }
    if (has_no_body()) length = 0;
    answer.body = input_.substr(head, length);
    input_.erase(0, head + length);
    return answer;
  }

  // True when the server closes within the time, with nothing left to read.
  bool ends(std::chrono::milliseconds within = std::chrono::seconds(10)) {
    return input_.empty() && !receive_more(within) && ended_;
  }

 private:
  // Signals, such as those that a fuzzer sets itself, end no wait.
  bool wait_for(short events, std::chrono::milliseconds within) {
    const auto deadline = std::chrono::steady_clock::now() + within;
    for (;;) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd polled{.fd = socket_.get(), .events = events, .revents = 0};
      const int ready = poll(&polled, 1, std::max(static_cast<int>(left.count()), 0));
      if (ready >= 0 || errno != EINTR) return ready == 1;
    }
  }
  bool goes_on_connecting() {
    int error = 0;
    socklen_t size = sizeof error;
    return wait_for(POLLOUT, std::chrono::seconds(10)) &&
           getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
  }
  bool receive_more(std::chrono::milliseconds within = std::chrono::seconds(10)) {
    if (!wait_for(POLLIN, within)) return false;
    std::array<char, 65536> buffer{};
    ssize_t count = -1;
    do {
      count = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) {
      ended_ = true;
      return false;
    }
    input_.append(buffer.data(), static_cast<size_t>(count));
    return true;
  }

  FileDescriptor socket_;
  bool connected_ = false;
  bool ended_ = false;
  std::string input_;
};

}  // namespace postoffice
