#include "bench/load/http_load.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <deque>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "base/file_descriptor.h"
#include "base/open_files.h"
#include "bench/load/thread_cpu.h"

namespace postoffice::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Micros = std::chrono::microseconds;

constexpr size_t kDifferentRequests = 256;
constexpr int64_t kIdSpace = 10'000;
constexpr size_t kMostAnswerBytes = 16 << 10;
constexpr size_t kShownBytes = 200;
constexpr Micros kSilence = std::chrono::seconds(30);
// At a rate, requests that are due within so short a time are sent together.
constexpr Micros kShortestWait{200};
constexpr Micros kLongestWait{10'000};

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::string random_ids(uint32_t count, std::mt19937_64& random) {
  std::uniform_int_distribution<int64_t> any(0, kIdSpace - 1);
  std::string text = "[";
  for (uint32_t i = 0; i < count; ++i) {
    if (i > 0) text += ',';
    text += std::to_string(any(random));
  }
  return text + "]";
}

std::vector<std::string> encoded_requests(const HttpLoadOptions& options) {
  std::mt19937_64 random(1);
  std::vector<std::string> requests;
  for (size_t i = 0; i < kDifferentRequests; ++i) {
    const std::string body = "{\"object_ids\":" + random_ids(options.ids, random) + "}";
    requests.push_back(
        "POST /callback HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(options.port) +
        "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body);
  }
  return requests;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && strncasecmp(text.data(), lower.data(), lower.size()) == 0;
}

// The value of Content-Length in the lines of a head, or nothing.
std::optional<size_t> content_length(std::string_view lines) {
  constexpr std::string_view kName = "content-length";
  while (!lines.empty()) {
    const size_t end = std::min(lines.find("\r\n"), lines.size());
    const auto line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 2, lines.size()));
    const size_t colon = std::min(line.find(':'), line.size());
    if (!equals_ignoring_case(line.substr(0, colon), kName)) continue;
    auto value = line.substr(std::min(colon + 1, line.size()));
    while (value.starts_with(' ')) value.remove_prefix(1);
    size_t bytes = 0;
    const auto [stop, error] = std::from_chars(value.begin(), value.end(), bytes);
    if (error == std::errc() && stop == value.end()) return bytes;
  }
  return std::nullopt;
}

[[noreturn]] void refuse(std::string_view answer) {
  throw std::runtime_error("unexpected answer: " + std::string(answer.substr(0, kShownBytes)));
}

// How long the answer is that `received` begins with; 0 while it is incomplete. Throws when it does
// not begin with `status_line`, or cannot be read.
size_t answer_bytes(std::string_view received, std::string_view status_line) {
  const size_t looked_at = std::min(received.size(), status_line.size());
  if (received.substr(0, looked_at) != status_line.substr(0, looked_at)) refuse(received);
  const size_t head_end = received.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return 0;
  const auto length = content_length(received.substr(0, head_end));
  if (!length) refuse(received);
  const size_t bytes = head_end + 4 + *length;
  return received.size() < bytes ? 0 : bytes;
}

FileDescriptor connected(uint16_t port) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    fail("connect to port " + std::to_string(port));
  }
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

struct Connection {
  FileDescriptor fd;
  std::string partial;  // Of the answer that is being received.
  Micros since{0};      // When the request that is unanswered was sent, or due.
  uint32_t answered = 0;
  bool is_waiting = false;
};

class HttpLoad {
 public:
  explicit HttpLoad(const HttpLoadOptions& options)
      : options_(options),
        requests_(encoded_requests(options)),
        status_line_("HTTP/1.1 " + std::to_string(options.expected_status) + " "),
        connections_(options.connections) {
    raise_open_files();
    for (size_t i = 0; i < connections_.size(); ++i) {
      connections_[i].fd = connected(options.port);
      epoll_event event{};
      // What is there is read to its end, so that each answer is told of once.
      event.events = EPOLLIN | EPOLLET;
      event.data.u64 = i;
      if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connections_[i].fd.get(), &event) != 0) {
        fail("epoll_ctl");
      }
      idle_.push_back(i);
    }
    latencies_.reserve(1 << 20);
    began_ = Clock::now();
  }

  HttpLoadResult run() {
    const Micros from = options_.warm_up;
    run_until(from);
    measured_from_ = now();
    for (auto& connection : connections_) connection.answered = 0;
    const uint64_t answered_before = answered_;
    const Micros cpu = thread_cpu();
    run_until(from + Micros(options_.duration));
    const double seconds = std::chrono::duration<double>(now() - measured_from_).count();

    HttpLoadResult result;
    result.answered_per_second = static_cast<double>(answered_ - answered_before) / seconds;
    result.busy = std::chrono::duration<double>(thread_cpu() - cpu).count() / seconds;
    for (const auto& connection : connections_) {
      result.answered_per_connection.push_back(connection.answered);
    }
    drain();
    result.latencies_us = std::move(latencies_);
    result.answered = answered_;
    return result;
  }

 private:
  static constexpr Micros kNever = Micros::max();

  Micros now() const { return std::chrono::duration_cast<Micros>(Clock::now() - began_); }

  void run_until(Micros end) {
    sends_until_ = end;
    while (now() < end) turn();
  }

  // What was due before the end is sent and counts, however late.
  void drain() {
    if (options_.rate == 0) sends_until_ = Micros(0);
    while (waiting_ > 0 || next_due() < sends_until_) turn();
  }

  void turn() {
    send_due();
    epoll_event events[256];
    const auto time = wait_time();
    const timespec timeout{0, time.count() * 1000};
    const int count = epoll_pwait2(epoll_.get(), events, std::size(events), &timeout, nullptr);
    for (int i = 0; i < count; ++i) read(events[i].data.u64);
    const Micros at = now();
    if (count > 0 || waiting_ == 0) heard_at_ = at;
    if (at - heard_at_ > kSilence) throw std::runtime_error("nothing was answered for 30 s");
  }

  // When the next request is due, at a rate.
  Micros next_due() const {
    if (options_.rate == 0) return kNever;
    return Micros(static_cast<int64_t>(static_cast<double>(sent_) * 1e6 / options_.rate));
  }

  Micros wait_time() const {
    const Micros due = next_due();
    if (idle_.empty() || due >= sends_until_) return kLongestWait;
    return std::clamp(due - now(), kShortestWait, kLongestWait);
  }

  void send_due() {
    const Micros at = now();
    while (!idle_.empty()) {
      const Micros due = options_.rate == 0 ? at : next_due();
      if (due > at || due >= sends_until_) return;
      send(connections_[idle_.front()], due);
      idle_.pop_front();
    }
  }

  // It has no other unanswered, so that its socket takes all of it.
  void send(Connection& connection, Micros since) {
    const auto& request = requests_[sent_ % requests_.size()];
    const ssize_t sent =
        ::send(connection.fd.get(), request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != static_cast<ssize_t>(request.size())) fail("send");
    connection.since = since;
    connection.is_waiting = true;
    ++sent_;
    ++waiting_;
  }

  void read(size_t i) {
    auto& connection = connections_[i];
    char input[kMostAnswerBytes];
    while (true) {
      const ssize_t count = recv(connection.fd.get(), input, sizeof(input), MSG_DONTWAIT);
      if (count < 0 && errno == EAGAIN) return;
      if (count < 0) fail("recv");
      if (count == 0) {
        throw std::runtime_error("the server closed a connection after: \"" +
                                 connection.partial.substr(0, kShownBytes) + "\"");
      }
      const std::string_view received(input, static_cast<size_t>(count));
      if (!connection.is_waiting) refuse(received);
      if (is_answered(connection, received)) {
        answered(i);
        return;
      }
    }
  }

  bool is_answered(Connection& connection, std::string_view received) const {
    if (!connection.partial.empty()) received = connection.partial.append(received);
    const size_t bytes = answer_bytes(received, status_line_);
    if (bytes == 0) {
      if (connection.partial.empty()) connection.partial = received;
      if (connection.partial.size() > kMostAnswerBytes) refuse(received);
      return false;
    }
    if (received.size() > bytes) refuse(received.substr(bytes));
    connection.partial.clear();
    return true;
  }

  void answered(size_t i) {
    auto& connection = connections_[i];
    const Micros at = now();
    // At a rate, those that were due before count for the warm-up.
    if (options_.rate > 0 ? connection.since >= measured_from_ : at >= measured_from_) {
      latencies_.push_back(static_cast<uint32_t>((at - connection.since).count()));
    }
    connection.is_waiting = false;
    ++connection.answered;
    ++answered_;
    --waiting_;
    if (options_.rate == 0 && at < sends_until_) {
      send(connection, at);
    } else {
      idle_.push_back(i);
    }
  }

  const HttpLoadOptions options_;
  const std::vector<std::string> requests_;
  const std::string status_line_;
  FileDescriptor epoll_{epoll_create1(EPOLL_CLOEXEC)};
  std::vector<Connection> connections_;
  std::deque<size_t> idle_;  // Connections without a request; the longest idle one is next.
  std::vector<uint32_t> latencies_;
  Clock::time_point began_;
  Micros measured_from_ = kNever;
  Micros sends_until_{0};
  Micros heard_at_{0};
  uint64_t sent_ = 0;
  uint64_t waiting_ = 0;  // Sent and not answered.
  uint64_t answered_ = 0;
};

}  // namespace

HttpLoadResult run_http_load(const HttpLoadOptions& options) { return HttpLoad(options).run(); }

double slowest_share(const HttpLoadResult& result) {
  const auto& each = result.answered_per_connection;
  const auto sum = std::accumulate(each.begin(), each.end(), uint64_t{0});
  if (sum == 0) return 0;
  return *std::ranges::min_element(each) * static_cast<double>(each.size()) /
         static_cast<double>(sum);
}

uint32_t callback_line_bytes(uint32_t ids) {
  std::mt19937_64 random(1);
  const std::string line =
      R"({"received_at":1700000000000,"object_ids":)" + random_ids(ids, random) + "}\n";
  return static_cast<uint32_t>(line.size());
}

}  // namespace postoffice::bench
