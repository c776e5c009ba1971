#include "tester/answer_loop.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>

#include "base/listening_socket.h"

namespace postoffice::tester {
namespace {

constexpr int kEventsAtOnce = 512;
constexpr int kAcceptsAtOnce = 256;
constexpr Millis kAcceptPause{20};
// Requests that came before their turn are kept up to here; then the socket is left alone.
constexpr size_t kMaxUnreadBytes = kMaxHeadBytes + kMaxBodyBytes + 1024;
// Answers to pipelined requests are gathered up to here before they are sent.
constexpr size_t kMaxUnsentBytes = size_t{64} << 10;

// What epoll hands back: the descriptor, and which of its connections, as descriptors are reused.
// Generation 0 is the loop's own: listening sockets and wakeup.
uint64_t tag_of(int fd, uint32_t generation) {
  return (uint64_t{generation} << 32) | static_cast<uint32_t>(fd);
}

bool out_of_descriptors(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

struct AnswerLoop::Connection {
  uint32_t generation = 0;
  uint32_t watched = EPOLLIN;

  std::string in;   // Received, not handled yet.
  std::string out;  // To be sent, from `sent_bytes` on.
  size_t sent_bytes = 0;

  bool waiting = false;          // `answer` is to be delivered at `due`; without one, never.
  std::optional<TimePoint> due;  // Is in due_.
  HttpAnswer answer;
  bool keep_alive = true;  // Of the request being answered.
  bool head_only = false;

  bool ending = false;    // Close when everything is sent.
  bool draining = false;  // Refused: read and forget until the client closes, lest it see a reset
                          // instead of the refusal.
};

AnswerLoop::AnswerLoop(const std::string& host, uint16_t port, HttpHandler& handler)
    : handler_(handler),
      listening_(listen_on({.host = host,
                            .port = port,
                            .host_setting = "OBJECTS_HOST",
                            .port_setting = "OBJECTS_PORT"})),
      port_(bound_port(listening_.front())),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_.get() < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  add_to_epoll(wakeup_.fd(), 0);
  for (const auto& listening : listening_) add_to_epoll(listening.get(), 0);
}

AnswerLoop::~AnswerLoop() { stop(); }

void AnswerLoop::start() {
  thread_ = Thread("objects", [this] { run(); });
}

void AnswerLoop::stop() {
  stopping_ = true;
  wakeup_.ring();
  thread_.join();
  listening_.clear();
  for (size_t fd = 0; fd < connections_.size(); ++fd) {
    if (connections_[fd]) close_connection(static_cast<int>(fd));
  }
}

void AnswerLoop::run() {
  std::array<epoll_event, kEventsAtOnce> events{};
  while (!stopping_) {
    const int count = epoll_wait(epoll_.get(), events.data(), kEventsAtOnce, poll_timeout_millis());
    for (int i = 0; i < count; ++i) handle_event(events[static_cast<size_t>(i)]);
    deliver_due();
    if (accepting_paused_ && SteadyClock::now() >= accept_again_) pause_accepting(false);
  }
}

int AnswerLoop::poll_timeout_millis() const {
  std::optional<TimePoint> next;
  if (!due_.empty()) next = due_.begin()->first;
  if (accepting_paused_) next = std::min(next.value_or(accept_again_), accept_again_);
  if (!next) return -1;
  const auto left = std::chrono::ceil<Millis>(*next - SteadyClock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 60'000));
}

void AnswerLoop::handle_event(const epoll_event& event) {
  const int fd = static_cast<int>(event.data.u64 & UINT32_MAX);
  const auto generation = static_cast<uint32_t>(event.data.u64 >> 32);
  if (generation == 0) {
    if (fd == wakeup_.fd()) {
      wakeup_.clear();
    } else {
      accept_all(fd);
    }
    return;
  }
  auto& connection = connections_[static_cast<size_t>(fd)];
  if (!connection || connection->generation != generation) return;  // Closed by an event before.
  if ((event.events & (EPOLLIN | EPOLLOUT)) == 0) return close_connection(fd);
  if ((event.events & EPOLLIN) != 0 && !read_some(fd, *connection)) return;
  if (advance(fd, *connection)) watch(fd, *connection);
}

void AnswerLoop::add_to_epoll(int fd, uint32_t generation) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag_of(fd, generation);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
}

void AnswerLoop::accept_all(int listening) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    const int fd = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      open_connection(fd);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (out_of_descriptors(errno)) {
      if (!std::exchange(shortage_logged_, true)) {
        spdlog::warn(
            "objects: cannot accept for now: {}; raise the limit of open files (ulimit -n)",
            std::generic_category().message(errno));
      }
      return pause_accepting(true);
    }
    // Anything else is the fault of that one connection.
  }
}

void AnswerLoop::pause_accepting(bool paused) {
  for (const auto& listening : listening_) {
    epoll_event event{};
    event.events = paused ? 0U : uint32_t{EPOLLIN};
    event.data.u64 = tag_of(listening.get(), 0);
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listening.get(), &event);
  }
  accepting_paused_ = paused;
  accept_again_ = SteadyClock::now() + kAcceptPause;
}

void AnswerLoop::open_connection(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (connections_.size() <= index) connections_.resize(index + 1);
  connections_[index] = std::make_unique<Connection>();
  last_generation_ = std::max<uint32_t>(1, last_generation_ + 1);
  connections_[index]->generation = last_generation_;
  add_to_epoll(fd, last_generation_);
}

void AnswerLoop::close_connection(int fd, bool reset) {
  const FileDescriptor closes(fd);
  const auto connection = std::move(connections_[static_cast<size_t>(fd)]);
  if (connection->due) due_.erase({*connection->due, fd});
  if (connection->waiting) handler_.finished(connection->answer, false);
  if (reset) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
}

bool AnswerLoop::read_some(int fd, Connection& connection) {
  const ssize_t size = recv(fd, received_.data(), received_.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return true;
  if (size <= 0) {
    close_connection(fd);
    return false;
  }
  if (!connection.draining) connection.in.append(received_.data(), static_cast<size_t>(size));
  return true;
}

bool AnswerLoop::advance(int fd, Connection& connection) {
  while (true) {
    if (!flush(fd, connection)) return false;
    if (!connection.out.empty()) return true;
    size_t used_bytes = 0;
    if (!handle_requests(fd, connection, used_bytes)) return false;
    connection.in.erase(0, used_bytes);
    if (connection.out.empty()) return true;
  }
}

bool AnswerLoop::handle_requests(int fd, Connection& connection, size_t& used_bytes) {
  while (!connection.waiting && !connection.ending && !connection.draining &&
         connection.out.size() < kMaxUnsentBytes && used_bytes < connection.in.size()) {
    const auto parsed = parse_http_request(std::string_view(connection.in).substr(used_bytes));
    if (parsed.outcome == ParsedRequest::Outcome::kIncomplete) break;
    if (parsed.outcome == ParsedRequest::Outcome::kRefused) {
      refuse(connection, parsed.status);
      break;
    }
    connection.keep_alive = parsed.request.keep_alive;
    connection.head_only = parsed.request.method == "HEAD";
    if (!begin(fd, connection, handler_.answer(parsed.request))) return false;
    used_bytes += parsed.size_bytes;
  }
  return true;
}

bool AnswerLoop::begin(int fd, Connection& connection, HttpAnswer answer) {
  using Delivery = HttpAnswer::Delivery;
  if (answer.delivery == Delivery::kReset) {
    handler_.finished(answer, true);
    close_connection(fd, /*reset=*/true);
    return false;
  }
  if (answer.delivery != Delivery::kHang && answer.delay.count() == 0) {
    deliver(connection, answer);
    return true;
  }
  connection.waiting = true;
  if (answer.delivery != Delivery::kHang) {
    connection.due = SteadyClock::now() + answer.delay;
    due_.emplace(*connection.due, fd);
  }
  connection.answer = std::move(answer);
  return true;
}

void AnswerLoop::deliver(Connection& connection, const HttpAnswer& answer) {
  if (answer.delivery == HttpAnswer::Delivery::kRaw) {
    connection.out += answer.body;
    connection.ending = true;
  } else {
    append_http_answer(connection.out, answer, connection.keep_alive, connection.head_only);
    connection.ending = !connection.keep_alive;
  }
  handler_.finished(answer, true);
}

void AnswerLoop::refuse(Connection& connection, int status) {
  HttpAnswer answer;
  answer.status = status;
  answer.content_type = "text/plain; charset=utf-8";
  answer.body =
      "this server reads HTTP/1.x requests with a head and a Content-Length body of at "
      "most 64 KiB each\n";
  append_http_answer(connection.out, answer, /*keep_alive=*/false, /*head_only=*/false);
  connection.draining = true;
  connection.in = {};
}

bool AnswerLoop::flush(int fd, Connection& connection) {
  while (connection.sent_bytes < connection.out.size()) {
    const ssize_t size = send(fd, connection.out.data() + connection.sent_bytes,
                              connection.out.size() - connection.sent_bytes, MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (size < 0) {
      close_connection(fd);
      return false;
    }
    connection.sent_bytes += static_cast<size_t>(size);
  }
  if (!connection.out.empty() && connection.draining) shutdown(fd, SHUT_WR);
  connection.out.clear();
  connection.sent_bytes = 0;
  if (!connection.ending) return true;
  close_connection(fd);
  return false;
}

void AnswerLoop::deliver_due() {
  const auto now = SteadyClock::now();
  while (!due_.empty() && due_.begin()->first <= now) {
    const int fd = due_.begin()->second;
    due_.erase(due_.begin());
    auto& connection = *connections_[static_cast<size_t>(fd)];
    connection.due.reset();
    connection.waiting = false;
    deliver(connection, std::exchange(connection.answer, {}));
    if (advance(fd, connection)) watch(fd, connection);
  }
}

void AnswerLoop::watch(int fd, Connection& connection) {
  uint32_t wanted = 0;
  if (connection.in.size() < kMaxUnreadBytes) wanted |= EPOLLIN;
  if (!connection.out.empty()) wanted |= EPOLLOUT;
  if (wanted == connection.watched) return;
  connection.watched = wanted;
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = tag_of(fd, connection.generation);
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

}  // namespace postoffice::tester
