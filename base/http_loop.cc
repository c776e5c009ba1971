#include "base/http_loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/http_answer.h"

namespace postoffice {
namespace {

constexpr int kEventsAtOnce = 256;
constexpr int kAcceptsAtOnce = 256;
constexpr int kIdleLookedAt = 64;  // For one of an address: not so many that accepting takes long.
constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kKeptInputBytes = 2 * 1024;  // An idle connection keeps no larger buffer.
constexpr size_t kSmallRequestBytes = 16 * 1024;
constexpr size_t kLargeBodyBytes = 64 * 1024;
constexpr Millis kLongestWait{1000};
constexpr Millis kAcceptPause{20};
constexpr Millis kLingerTimeout{2000};
constexpr Millis kUnhurried{1000};  // Who takes longer over the head of a request makes room.
constexpr Millis kShortageLogInterval{60'000};

// accept(2): errors of the connection that was to be accepted, not of the listening socket.
bool concerns_one_connection(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:  // Firewall rules forbid it.
      return true;
    default:
      return false;
  }
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

HttpLoop::HttpLoop(Options options, std::vector<FileDescriptor> listening, Dispatch dispatch,
                   HttpDirect* direct)
    : options_(std::move(options)),
      dispatch_(std::move(dispatch)),
      direct_(direct),
      listening_(std::move(listening)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      scratch_(kReadBytes) {
  if (epoll_.get() < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &wakeup_;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup_.fd(), &event);
  for (auto& socket : listening_) {
    event.data.ptr = &socket;
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket.get(), &event);
  }
}

HttpLoop::~HttpLoop() { stop(SteadyClock::now()); }

void HttpLoop::start() {
  thread_ = Thread("http-loop", [this] { run(); });
}

void HttpLoop::stop(SteadyClock::time_point deadline) {
  {
    const std::lock_guard lock(answered_mutex_);
    if (!stopping_) stop_deadline_ = deadline;
    stopping_ = true;
  }
  wakeup_.ring();
  thread_.join();
}

void HttpLoop::run() {
  std::array<epoll_event, kEventsAtOnce> events{};
  now_ = SteadyClock::now();
  while (!finished()) {
    const int count = epoll_wait(epoll_.get(), events.data(), kEventsAtOnce, wait_millis());
    now_ = SteadyClock::now();
    take_back_answered();
    for (int i = 0; i < count; ++i) {
      void* const source = events.at(static_cast<size_t>(i)).data.ptr;
      if (source == &wakeup_) {
        wakeup_.clear();
        take_back_answered();
        continue;
      }
      const auto socket = std::ranges::find_if(
          listening_, [source](const FileDescriptor& listening) { return &listening == source; });
      if (socket != listening_.end()) {
        accept_from(*socket);
      } else {
        on_event(*static_cast<HttpConnection*>(source));
      }
    }
    expire();
    if (!accepting_ && !stop_entered_ && now_ >= accept_again_at_) {
      accepting_ = true;
      poll_listening(EPOLLIN);
    }
    if (!stop_entered_ && stopping_) enter_stopping();
    if (direct_ != nullptr) direct_->end_of_round();
    list(State::kClosed).clear();
  }
  close_everything();
}

bool HttpLoop::finished() const {
  if (!stop_entered_) return false;
  return now_ >= stop_deadline_ ||
         connections_ == list(State::kLingering).size();  // Those are answered.
}

int HttpLoop::wait_millis() const {
  auto until = now_ + kLongestWait;
  for (const State state : HttpConnection::kTimedStates) {
    if (!list(state).empty()) until = std::min(until, list(state).front().deadline_);
  }
  if (!accepting_ && !stop_entered_) until = std::min(until, accept_again_at_);
  if (stop_entered_) until = std::min(until, stop_deadline_);
  const auto wait = std::chrono::ceil<Millis>(until - now_).count();
  return static_cast<int>(std::max<int64_t>(wait, 0));
}

void HttpLoop::enter_stopping() {
  stop_entered_ = true;
  listening_.clear();
  auto& idle = list(State::kIdle);
  for (auto at = idle.begin(); at != idle.end();) {
    HttpConnection& connection = *at++;
    close_if_idle(connection);
  }
}

void HttpLoop::close_everything() {
  for (const State state : HttpConnection::kTimedStates) {
    while (!list(state).empty()) close(list(state).front());
  }
  list(State::kClosed).clear();
  for (auto& busy : list(State::kBusy)) shutdown(busy.socket_.get(), SHUT_RDWR);
}

void HttpLoop::accept_from(const FileDescriptor& listening) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    if (connections_ > options_.max_connections && !make_room()) return pause_accepting();
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    FileDescriptor socket(accept4(listening.get(), reinterpret_cast<sockaddr*>(&peer), &length,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.get() >= 0) {
      const bool room = connections_ < options_.max_connections || make_room();
      add(std::move(socket), peer);
      if (room) continue;
      log_shortage("connections");
      return pause_accepting();
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) return;
    if (concerns_one_connection(error)) continue;
    log_shortage(std::generic_category().message(error).c_str());
    // Out of files or memory: with room made, the next round accepts.
    make_room();
    return pause_accepting();
  }
}

void HttpLoop::add(FileDescriptor socket, const sockaddr_storage& peer) {
  std::array<char, INET6_ADDRSTRLEN> ip{};
  int port = 0;
  if (peer.ss_family == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(peer);
    inet_ntop(AF_INET6, &address.sin6_addr, ip.data(), ip.size());
    port = ntohs(address.sin6_port);
  } else {
    const auto& address = reinterpret_cast<const sockaddr_in&>(peer);
    inet_ntop(AF_INET, &address.sin_addr, ip.data(), ip.size());
    port = ntohs(address.sin_port);
  }
  auto address = AddressCounts::key_of(peer);
  const bool refused =
      addresses_.of(address) >= options_.max_connections_per_address && !make_room_for(address);
  addresses_.add(address);
  auto& idle = list(State::kIdle);
  idle.push_back(HttpConnection(std::move(socket), options_.max_body_bytes));
  HttpConnection& connection = idle.back();
  connection.self_ = std::prev(idle.end());
  connection.deadline_ = now_ + timeout(State::kIdle);
  ++connections_;
  connection.address_ = std::move(address);
  connection.remote_ip_ = ip.data();
  connection.remote_port_ = port;
  if (refused) return refuse_address(connection);
  poll_for(connection, EPOLLIN);
}

bool HttpLoop::make_room_for(const AddressCounts::Key& address) {
  auto& idle = list(State::kIdle);
  auto at = idle.begin();
  for (int looked_at = 0; looked_at < kIdleLookedAt && at != idle.end(); ++looked_at) {
    HttpConnection& connection = *at++;
    if (connection.address_ == address && close_if_idle(connection)) return true;
  }
  return false;
}

void HttpLoop::refuse_address(HttpConnection& connection) {
  if (refusal_logged_at_ + kShortageLogInterval <= now_) {
    refusal_logged_at_ = now_;
    spdlog::warn("HTTP: {} has {} connections; more are refused ({})", connection.remote_ip_,
                 options_.max_connections_per_address,
                 options_.max_connections_per_address_setting);
  }
  refuse(connection, 503,
         "too many connections from your address (" + options_.max_connections_per_address_setting +
             ")");
}

void HttpLoop::pause_accepting() {
  accepting_ = false;
  accept_again_at_ = now_ + kAcceptPause;
  poll_listening(0);
}

void HttpLoop::log_shortage(const char* of) {
  if (shortage_logged_at_ != SteadyClock::time_point{} &&
      now_ < shortage_logged_at_ + kShortageLogInterval) {
    return;
  }
  shortage_logged_at_ = now_;
  spdlog::warn("HTTP: out of {} at {} connections; new ones wait", of, connections_);
}

void HttpLoop::poll_listening(uint32_t events) {
  for (auto& socket : listening_) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &socket;
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, socket.get(), &event);
  }
}

bool HttpLoop::make_room() {
  auto& lingering = list(State::kLingering);
  if (!lingering.empty()) {
    close(lingering.front());
    return true;
  }
  return close_longest_idle() || close_slowest(State::kReading, kUnhurried) ||
         close_slowest(State::kReadingBody, options_.read_timeout);
}

// The one that has been in `state` for longest, if for so long.
bool HttpLoop::close_slowest(State state, Millis at_least) {
  if (list(state).empty()) return false;
  HttpConnection& connection = list(state).front();
  if (connection.deadline_ - timeout(state) + at_least > now_) return false;
  read_from(connection);  // It may have arrived.
  if (connection.state_ == state) close(connection);
  return connection.state_ == State::kClosed;
}

bool HttpLoop::close_longest_idle() {
  auto& idle = list(State::kIdle);
  while (!idle.empty()) {
    if (close_if_idle(idle.front())) return true;
  }
  return false;
}

// One whose request has just arrived does not idle.
bool HttpLoop::close_if_idle(HttpConnection& connection) {
  read_from(connection);
  if (connection.state_ == State::kIdle) close(connection);
  return connection.state_ == State::kClosed;
}

void HttpLoop::answer(HttpConnection& connection, std::string answer, bool close) {
  connection.output_ = std::move(answer);
  connection.written_ = 0;
  connection.close_after_output_ = close;
  const bool sent = send_output(connection);
  const bool more_input = connection.input_.size() > connection.request().size();
  bool urgent = !sent || connection.close_after_output_ || more_input;
  {
    const std::lock_guard lock(answered_mutex_);
    connection.answered_ = true;
    answered_.push_back(&connection);
    urgent |= connection.needs_loop_ || stopping_;
    // Otherwise the loop needs to know only when the client sends its next request, which wakes it.
    if (urgent) ring_once();
  }
}

void HttpLoop::answer_direct(HttpConnection& connection, std::string answer, bool close) {
  connection.is_direct_ = false;
  connection.output_ = std::move(answer);
  connection.written_ = 0;
  connection.close_after_output_ = close;
  enter(connection, State::kWriting);
  write_to(connection);
}

void HttpLoop::post(std::function<void()> task) {
  const std::lock_guard lock(answered_mutex_);
  tasks_.push_back(std::move(task));
  ring_once();
}

// With answered_mutex_ held.
void HttpLoop::ring_once() {
  if (!std::exchange(rung_, true)) wakeup_.ring();
}

void HttpLoop::take_back_answered() {
  taken_back_.clear();
  {
    const std::lock_guard lock(answered_mutex_);
    taken_back_.swap(answered_);
    running_tasks_.swap(tasks_);
    rung_ = false;
    for (auto* connection : taken_back_) {
      connection->answered_ = false;
      connection->needs_loop_ = false;
    }
  }
  for (auto* connection : taken_back_) resume(*connection);
  for (const auto& task : running_tasks_) task();
  running_tasks_.clear();
}

void HttpLoop::resume(HttpConnection& connection) {
  if (connection.written_ == connection.output_.size()) return after_answer(connection);
  enter(connection, State::kWriting);
  poll_for(connection, EPOLLOUT);
}

void HttpLoop::on_event(HttpConnection& connection) {
  switch (connection.state_) {
    case State::kIdle:
    case State::kReading:
    case State::kReadingBody:
      return read_from(connection);
    case State::kWriting:
      return write_to(connection);
    case State::kLingering:
      return discard_from(connection);
    case State::kClosed:
      return;
    case State::kBusy:
      break;
  }
  if (connection.is_direct_) return poll_for(connection, 0);
  {
    const std::lock_guard lock(answered_mutex_);
    if (!connection.answered_) connection.needs_loop_ = true;
    if (connection.answered_) {  // It is idle again, and the event comes again.
      return;
    }
  }
  // The next request, or the end of the connection, before the answer to this one.
  poll_for(connection, 0);
}

void HttpLoop::read_from(HttpConnection& connection) {
  const ssize_t count = recv(connection.socket_.get(), scratch_.data(), scratch_.size(), 0);
  if (count < 0 && would_block(errno)) return;
  if (count <= 0) return close(connection);
  const auto bytes = static_cast<size_t>(count);
  if (buffered_bytes_ + bytes > options_.max_buffered_bytes &&
      connection.input_.size() + bytes > kSmallRequestBytes) {
    return refuse(connection, 503, "too many requests are arriving at once");
  }
  connection.input_.append(scratch_.data(), bytes);
  recount(connection);
  if (connection.state_ == State::kIdle) enter(connection, State::kReading);
  advance(connection);
}

void HttpLoop::advance(HttpConnection& connection) {
  switch (connection.framing_.advance(connection.input_)) {
    case HttpFraming::Progress::kMore:
      return await_more(connection);
    case HttpFraming::Progress::kComplete:
      enter(connection, State::kBusy);
      connection.arrived_at_ = now_;
      connection.is_direct_ =
          direct_ != nullptr && connection.framing_.is_plain() && direct_->take(connection);
      if (!connection.is_direct_) dispatch_(connection);
      return;
    case HttpFraming::Progress::kRefused: {
      const auto& [status, detail] = connection.framing_.refusal();
      return refuse(connection, status,
                    status == 413 ? detail + " (" + options_.max_body_setting + ")" : detail);
    }
  }
}

void HttpLoop::await_more(HttpConnection& connection) {
  const auto& framing = connection.framing_;
  if (connection.input_.empty()) {
    enter(connection, State::kIdle);  // It was an empty line between two requests.
  } else if (connection.state_ == State::kReading && framing.head_bytes() > 0 &&
             framing.body_bytes() > kLargeBodyBytes) {
    enter(connection, State::kReadingBody);
  }
  if (framing.expects_continue()) send_continue(connection);
}

// Once, and only when the whole head has arrived and nothing of the body.
void HttpLoop::send_continue(HttpConnection& connection) {
  const size_t head = connection.framing_.head_bytes();
  if (head == 0 || std::exchange(connection.continue_sent_, true)) return;
  if (connection.input_.size() > head) return;
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  const ssize_t sent =
      send(connection.socket_.get(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(kContinue.size())) close(connection);
}

void HttpLoop::refuse(HttpConnection& connection, int status, const std::string& detail) {
  connection.output_ = HttpAnswer::problem(status, detail).text(/*close=*/true);
  connection.written_ = 0;
  connection.close_after_output_ = connection.linger_ = true;
  forget_input(connection);
  enter(connection, State::kWriting);
  write_to(connection);
}

// False when the socket takes no more for now; true when all was sent or nothing can be.
bool HttpLoop::send_output(HttpConnection& connection) {
  auto& output = connection.output_;
  while (connection.written_ < output.size()) {
    const ssize_t sent = send(connection.socket_.get(), output.data() + connection.written_,
                              output.size() - connection.written_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      connection.written_ += static_cast<size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return false;
    } else if (errno != EINTR) {
      connection.written_ = output.size();
      connection.close_after_output_ = true;
      connection.linger_ = false;
    }
  }
  return true;
}

void HttpLoop::write_to(HttpConnection& connection) {
  if (send_output(connection)) return after_answer(connection);
  poll_for(connection, EPOLLOUT);
}

// What would be reset if it were closed.
bool HttpLoop::has_unread(const HttpConnection& connection) {
  int bytes = 0;
  return !connection.input_.empty() ||
         (ioctl(connection.socket_.get(), FIONREAD, &bytes) == 0 && bytes > 0);
}

void HttpLoop::after_answer(HttpConnection& connection) {
  connection.output_ = {};
  connection.written_ = 0;
  if (connection.linger_) return linger(connection);
  auto& input = connection.input_;
  input.erase(0, connection.request().size());
  if (connection.close_after_output_ || (stop_entered_ && input.empty())) {
    return has_unread(connection) ? linger(connection) : close(connection);
  }
  connection.framing_.reset();
  connection.continue_sent_ = false;
  if (input.empty() && input.capacity() > kKeptInputBytes) input = {};
  recount(connection);
  enter(connection, input.empty() ? State::kIdle : State::kReading);
  poll_for(connection, EPOLLIN);
  if (connection.state_ == State::kReading) advance(connection);
}

void HttpLoop::linger(HttpConnection& connection) {
  forget_input(connection);
  shutdown(connection.socket_.get(), SHUT_WR);
  enter(connection, State::kLingering);
  poll_for(connection, EPOLLIN);
}

void HttpLoop::discard_from(HttpConnection& connection) {
  const ssize_t count = recv(connection.socket_.get(), scratch_.data(), scratch_.size(), 0);
  if (count > 0 || (count < 0 && would_block(errno))) return;
  close(connection);
}

void HttpLoop::close(HttpConnection& connection) {
  if (connection.state_ == State::kClosed) return;
  // Closing it is not enough: a child of this process that has not called exec(2) yet has it too.
  if (connection.polled_for_ != 0) {
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.socket_.get(), nullptr);
  }
  connection.socket_.close();
  forget_input(connection);
  enter(connection, State::kClosed);  // Freed when no event of this round can name it any more.
  --connections_;
  addresses_.remove(connection.address_);
}

void HttpLoop::expire() {
  const auto expired = [this](State state) {
    return !list(state).empty() && list(state).front().deadline_ <= now_;
  };
  // What has arrived but was not read yet, by a loop that is behind, is in time.
  while (expired(State::kIdle)) close_if_idle(list(State::kIdle).front());
  for (const State state : {State::kReading, State::kReadingBody}) {
    while (expired(state)) {
      HttpConnection& connection = list(state).front();
      read_from(connection);
      if (connection.state_ == state && connection.deadline_ <= now_) {
        refuse(connection, 408,
               "the whole request must arrive within " + format_duration(timeout(state)));
      }
    }
  }
  while (expired(State::kWriting)) close(list(State::kWriting).front());
  while (expired(State::kLingering)) close(list(State::kLingering).front());
}

Millis HttpLoop::timeout(State state) const {
  switch (state) {
    case State::kIdle:
      return options_.keep_alive_timeout;
    case State::kReading:
      return options_.read_timeout;
    case State::kReadingBody:
      return options_.body_timeout;
    case State::kWriting:
      return options_.write_timeout;
    default:
      return kLingerTimeout;
  }
}

void HttpLoop::enter(HttpConnection& connection, State state) {
  auto& from = list(connection.state_);
  auto& to = list(state);
  to.splice(to.end(), from, connection.self_);
  connection.state_ = state;
  connection.deadline_ = now_ + timeout(state);
}

void HttpLoop::poll_for(HttpConnection& connection, uint32_t events) {
  if (connection.state_ == State::kClosed || connection.polled_for_ == events) return;
  const int operation = events == 0                   ? EPOLL_CTL_DEL
                        : connection.polled_for_ == 0 ? EPOLL_CTL_ADD
                                                      : EPOLL_CTL_MOD;
  epoll_event event{};
  event.events = events;
  event.data.ptr = &connection;
  if (epoll_ctl(epoll_.get(), operation, connection.socket_.get(), &event) == 0) {
    connection.polled_for_ = events;
  } else if (connection.state_ != State::kBusy) {
    close(connection);  // No memory for it.
  }
}

void HttpLoop::forget_input(HttpConnection& connection) {
  connection.input_ = {};
  recount(connection);
}

void HttpLoop::recount(HttpConnection& connection) {
  buffered_bytes_ += connection.input_.size() - connection.counted_bytes_;
  connection.counted_bytes_ = connection.input_.size();
}

}  // namespace postoffice
