#include "tests/worker/object_service.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <stdexcept>
#include <utility>

namespace postoffice::testing {
namespace {

constexpr uint16_t kFirstPort = 24000;
constexpr uint16_t kLastPort = 24999;

// -1 when the port is taken.
int listen_on(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      listen(fd, 4096) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

// False when `stop_fd` is readable; true when `fd` is, or after `time`.
bool wait_readable(int fd, int stop_fd, Millis time) {
  pollfd fds[] = {{fd, POLLIN, 0}, {stop_fd, POLLIN, 0}};
  while (poll(fds, 2, static_cast<int>(time.count())) < 0 && errno == EINTR) {
  }
  return fds[1].revents == 0;
}

}  // namespace

std::string http_answer(int status, const std::string& body, const std::string& headers) {
  return "HTTP/1.1 " + std::to_string(status) + " Whatever\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string object_answer(int64_t id, bool online) {
  return http_answer(
      200, "{\"id\":" + std::to_string(id) + ",\"online\":" + (online ? "true" : "false") + "}");
}

bool ObjectService::Exchange::send(const std::string& bytes) {
  return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

bool ObjectService::Exchange::wait(Millis time) {
  const auto until = SteadyClock::now() + time;
  while (SteadyClock::now() < until) {
    const auto left = std::chrono::ceil<Millis>(until - SteadyClock::now());
    if (!wait_readable(fd_, stop_fd_, left)) return false;
    char byte = 0;
    if (recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return false;
  }
  return true;
}

ObjectService::ObjectService(Script script) : script_(std::move(script)) { start(); }

ObjectService::~ObjectService() { stop(); }

void ObjectService::start() {
  std::minstd_rand random{std::random_device{}()};
  std::uniform_int_distribution<uint16_t> ports(kFirstPort, kLastPort);
  int listener = port_ != 0 ? listen_on(port_) : -1;
  for (int tries = 0; listener < 0 && tries < 1000; ++tries) {
    port_ = ports(random);
    listener = listen_on(port_);
  }
  if (listener < 0) throw std::runtime_error("no free port");
  stop_ = std::make_unique<Wakeup>();
  acceptor_ = Thread("objects-accept", [this, listener] { accept_all(listener); });
}

void ObjectService::stop() {
  stop_->ring();
  acceptor_.join();
  std::vector<Thread> threads;
  {
    const std::lock_guard lock(mutex_);
    threads.swap(threads_);
  }
}

void ObjectService::set_script(Script script) {
  const std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

void ObjectService::accept_all(int listener) {
  while (wait_readable(listener, stop_->fd(), std::chrono::hours(1))) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const std::lock_guard lock(mutex_);
    ++connections_;
    threads_.emplace_back("objects-serve", [this, fd] { serve(fd); });
  }
  close(listener);
}

void ObjectService::serve(int fd) {
  std::string buffer;
  for (;;) {
    Exchange exchange;
    exchange.fd_ = fd;
    exchange.stop_fd_ = stop_->fd();
    if (!read_request(exchange, buffer)) break;
    Script script;
    begin(exchange, script);
    script(exchange);
    {
      const std::lock_guard lock(mutex_);
      --under_way_;
    }
    if (exchange.is_closed_) break;
  }
  close(fd);
}

bool ObjectService::read_request(Exchange& exchange, std::string& buffer) const {
  for (;;) {
    const size_t end = buffer.find("\r\n\r\n");
    if (end != std::string::npos) {
      exchange.head = buffer.substr(0, end + 4);
      buffer.erase(0, end + 4);
      break;
    }
    if (!wait_readable(exchange.fd_, exchange.stop_fd_, std::chrono::hours(1))) return false;
    char bytes[4096];
    const ssize_t got = recv(exchange.fd_, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    buffer.append(bytes, static_cast<size_t>(got));
  }
  const size_t path_end = exchange.head.find(" HTTP/");
  exchange.id = std::stoll(exchange.head.substr(exchange.head.rfind('/', path_end) + 1));
  return true;
}

bool ObjectService::begin(Exchange& exchange, Script& script) {
  const std::lock_guard lock(mutex_);
  script = script_;
  exchange.number = ++counts_[exchange.id];
  order_.push_back(exchange.id);
  most_under_way_ = std::max(most_under_way_, ++under_way_);
  return true;
}

int ObjectService::requests() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(order_.size());
}

int ObjectService::requests_for(int64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(id);
  return found == counts_.end() ? 0 : found->second;
}

std::vector<int64_t> ObjectService::order() const {
  const std::lock_guard lock(mutex_);
  return order_;
}

int ObjectService::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_;
}

int ObjectService::under_way() const {
  const std::lock_guard lock(mutex_);
  return under_way_;
}

int ObjectService::most_under_way() const {
  const std::lock_guard lock(mutex_);
  return most_under_way_;
}

}  // namespace postoffice::testing
