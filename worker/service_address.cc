#include "worker/service_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/url.h"

namespace postoffice {
namespace {

constexpr std::chrono::seconds kResolvedFor{30};
constexpr std::chrono::seconds kUnresolvedFor{1};
constexpr int kMostConnecting = 256;

std::string text_of(int error) { return std::generic_category().message(error); }

// 0, or the errno of what failed.
int connect_by(int fd, const sockaddr* address, socklen_t length, SteadyClock::time_point deadline,
               int stop_fd) {
  if (::connect(fd, address, length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd fds[] = {{fd, POLLOUT, 0}, {stop_fd, POLLIN, 0}};
  for (;;) {
    const auto left = std::chrono::ceil<Millis>(deadline - SteadyClock::now()).count();
    const int ready = poll(fds, 2, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return errno;
    if (ready == 0) return ETIMEDOUT;
    if (fds[1].revents != 0) return ECANCELED;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
  }
}

}  // namespace

class ServiceAddress::Turn {
 public:
  Turn(ServiceAddress& address, SteadyClock::time_point deadline) : address_(address) {
    std::unique_lock lock(address_.mutex_);
    is_mine_ = address_.turn_over_.wait_until(
        lock, deadline, [&] { return address_.connecting_ < kMostConnecting; });
    if (is_mine_) ++address_.connecting_;
  }
  ~Turn() {
    if (!is_mine_) return;
    const std::lock_guard lock(address_.mutex_);
    --address_.connecting_;
    address_.turn_over_.notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool is_mine() const { return is_mine_; }

 private:
  ServiceAddress& address_;
  bool is_mine_ = false;
};

ServiceAddress::ServiceAddress(const std::string& objects_url, Resolver resolver)
    : resolver_(std::move(resolver)) {
  const auto url = parse_url(objects_url);
  // The id follows the path, so nothing else may.
  if (!url || url->scheme != "http" || url->path.find_first_of("?#") != std::string::npos) {
    throw BadConfig({"OBJECTS_URL must be a URL like http://host:9010/objects, without ? or #"});
  }
  host_ = url->host;
  port_ = url->port.value_or(80);
  user_ = url->user;
  password_ = url->password;
  base_path_ = url->path;
  while (base_path_.ends_with('/')) base_path_.pop_back();
  const bool is_v6 = host_.find(':') != std::string::npos;
  name_ = (is_v6 ? "[" + host_ + "]" : host_) + ":" + std::to_string(port_);
}

std::string ServiceAddress::path_of(int64_t id) const {
  return base_path_ + "/" + std::to_string(id);
}

FileDescriptor ServiceAddress::connect(Millis timeout, SteadyClock::time_point deadline,
                                       int stop_fd, std::string& why) {
  const Turn turn(*this, deadline);
  if (!turn.is_mine()) {
    why = "cannot connect to " + name_ + ": too many others try to";
    return FileDescriptor();
  }
  deadline = std::min(deadline, SteadyClock::now() + timeout);
  const auto candidates = endpoints(deadline, why);
  if (!candidates) return FileDescriptor();
  const size_t first = preferred_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < candidates->size(); ++i) {
    const size_t index = (first + i) % candidates->size();
    const Endpoint& endpoint = (*candidates)[index];
    FileDescriptor fd(
        socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.is_open()) {
      why = "no socket: " + text_of(errno);
      continue;
    }
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto now = SteadyClock::now();
    const auto candidates_left = static_cast<SteadyClock::rep>(candidates->size() - i);
    const int error =
        connect_by(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length,
                   now + (deadline - now) / candidates_left, stop_fd);
    if (error == 0) {
      if (index != first) preferred_.store(index, std::memory_order_relaxed);
      return fd;
    }
    why = "cannot connect to " + name_ + ": " + text_of(error);
    if (error == ECANCELED) break;
  }
  return FileDescriptor();
}

std::shared_ptr<const ServiceAddress::Endpoints> ServiceAddress::endpoints(
    SteadyClock::time_point deadline, std::string& why) {
  std::unique_lock lock(mutex_);
  if (!resolving_ && SteadyClock::now() >= ask_again_) {
    resolving_ = true;
    lock.unlock();
    std::string failure;
    auto found = resolver_(host_, port_, failure);
    lock.lock();
    resolving_ = false;
    ask_again_ = SteadyClock::now() + (found ? kResolvedFor : kUnresolvedFor);
    failure_ = std::move(failure);
    if (found) known_ = std::move(found);  // Addresses that were good are kept otherwise.
    resolved_.notify_all();
  }
  const bool in_time =
      resolved_.wait_until(lock, deadline, [&] { return known_ != nullptr || !resolving_; });
  if (!known_) why = in_time ? failure_ : "cannot resolve " + host_ + ": no answer in time";
  return known_;
}

std::shared_ptr<const ServiceAddress::Endpoints> ServiceAddress::look_up(const std::string& host,
                                                                         uint16_t port,
                                                                         std::string& why) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (error != 0) {
    why = "cannot resolve " + host + ": " + gai_strerror(error);
    return nullptr;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  auto found = std::make_shared<Endpoints>();
  for (const addrinfo* info = list; info != nullptr; info = info->ai_next) {
    Endpoint endpoint;
    std::memcpy(&endpoint.address, info->ai_addr, info->ai_addrlen);
    endpoint.length = info->ai_addrlen;
    found->push_back(endpoint);
  }
  return found;
}

}  // namespace postoffice
