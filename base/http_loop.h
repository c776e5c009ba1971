#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/address_counts.h"
#include "base/file_descriptor.h"
#include "base/http_framing.h"
#include "base/thread.h"
#include "base/time.h"
#include "base/wakeup.h"

namespace postoffice {

// One client's connection, owned by an HttpLoop. Between `dispatch` and HttpLoop::answer() it
// belongs to whoever answers the request.
class HttpConnection {
 public:
  // "POST /callback HTTP/1.1".
  std::string_view request_line() const {
    return std::string_view(input_).substr(0, input_.find('\r'));
  }
  std::string_view body() const {
    return std::string_view(input_).substr(framing_.head_bytes(), framing_.body_bytes());
  }
  // The whole request, head and body; a chunked body is decoded.
  std::string_view request() const {
    return std::string_view(input_).substr(0, framing_.head_bytes() + framing_.body_bytes());
  }
  size_t body_bytes() const { return framing_.body_bytes(); }
  // Whether the client wants another answer on this connection.
  bool keep_alive() const { return framing_.keep_alive(); }
  // When the whole request was there.
  SteadyClock::time_point arrived_at() const { return arrived_at_; }
  const std::string& remote_ip() const { return remote_ip_; }
  int remote_port() const { return remote_port_; }

 private:
  friend class HttpLoop;
  using List = std::list<HttpConnection>;
  enum class State {
    kIdle,         // Between requests.
    kReading,      // Part of a request has arrived.
    kReadingBody,  // All but the rest of a large body.
    kBusy,         // A request is being answered.
    kWriting,      // The client is slow to take the answer.
    kLingering,    // Answered and half-closed: what the client still sends is thrown away, because
                   // closing on unread bytes would reset the connection before it read the answer.
    kClosed,
  };
  static constexpr size_t kStates = 7;
  // Those that last no longer than their deadline.
  static constexpr std::array kTimedStates = {State::kIdle, State::kReading, State::kReadingBody,
                                              State::kWriting, State::kLingering};

  HttpConnection(FileDescriptor socket, size_t max_body_bytes)
      : socket_(std::move(socket)), framing_(max_body_bytes) {}

  FileDescriptor socket_;
  AddressCounts::Key address_;
  std::string remote_ip_;
  int remote_port_ = 0;

  HttpFraming framing_;
  SteadyClock::time_point arrived_at_;
  std::string input_;
  std::string output_;
  size_t written_ = 0;
  bool close_after_output_ = false;
  bool linger_ = false;
  bool continue_sent_ = false;
  bool is_direct_ = false;  // An HttpDirect answers it.

  // Of the loop's thread.
  State state_ = State::kIdle;
  List::iterator self_;
  SteadyClock::time_point deadline_;
  size_t counted_bytes_ = 0;
  uint32_t polled_for_ = 0;

  // Guarded by HttpLoop::answered_mutex_.
  bool answered_ = false;
  bool needs_loop_ = false;
};

// Answers plain requests (HttpFraming::is_plain()) on the loop's thread. All of it is called there.
class HttpDirect {
 public:
  virtual ~HttpDirect() = default;
  // Whether it answers the request, later and once, by HttpLoop::answer_direct(). Otherwise the
  // request is dispatched like any other. Must not block.
  virtual bool take(HttpConnection& connection) = 0;
  // No more requests for now: called after each round of events, and once a second at least.
  virtual void end_of_round() = 0;
};

// Owns listening sockets and connections on one thread: accepts, gathers whole requests, keeps
// timeouts, and takes leftovers of answers to slow clients. Idle and slow clients cost memory only,
// never a thread.
//
// - Beyond `max_connections`, and when the process runs out of files or memory, one makes room: one
//   that only waits for its client to close; else that has idled longest; else that has been at
//   sending the head of a request for longest, a second at least, or a large body, as long as a
//   whole request has. If there is none, accepting pauses.
// - Beyond `max_connections_per_address`, one of that address among the longest idle makes room; if
//   none does, the new one is answered 503 and closed.
// - Request bytes in memory are bounded: beyond `max_buffered_bytes` requests of more than 16 KiB
//   are refused with 503; smaller ones are let in, so that large ones that hang keep nobody out.
class HttpLoop {
 public:
  struct Options {
    size_t max_body_bytes = 1 << 20;
    std::string max_body_setting;  // Its name, for errors.
    size_t max_connections = 10'000;
    size_t max_connections_per_address = 7'500;
    std::string max_connections_per_address_setting;  // Its name, for errors.
    size_t max_buffered_bytes = 256 << 20;
    Millis read_timeout{5000};          // For a whole request, from its first byte.
    Millis body_timeout{30'000};        // For the rest of a body of more than 64 KiB.
    Millis write_timeout{5000};         // For an answer.
    Millis keep_alive_timeout{75'000};  // Between requests.
  };
  // Called on the loop's thread with a whole request; must not block. answer() is called for it
  // once, later, on any thread.
  using Dispatch = std::function<void(HttpConnection&)>;

  // `direct` may be nullptr, and outlives the loop's thread.
  HttpLoop(Options options, std::vector<FileDescriptor> listening, Dispatch dispatch,
           HttpDirect* direct = nullptr);
  ~HttpLoop();

  void start();
  // Stops accepting, closes idle connections, waits until `deadline` for requests in flight, closes
  // the rest and returns after the thread joined. Connections that are being answered stay valid
  // until the loop is destroyed. Idempotent.
  void stop(SteadyClock::time_point deadline);

  // Sends `answer` without blocking and gives the connection back. Any thread.
  void answer(HttpConnection& connection, std::string answer, bool close);
  // Answers what HttpDirect took. The loop's thread.
  void answer_direct(HttpConnection& connection, std::string answer, bool close);
  // Runs `task` on the loop's thread, soon; not at all once the loop has ended. Any thread.
  void post(std::function<void()> task);

 private:
  using State = HttpConnection::State;
  using List = HttpConnection::List;

  void run();
  bool finished() const;
  int wait_millis() const;
  void enter_stopping();
  void close_everything();

  void accept_from(const FileDescriptor& listening);
  void add(FileDescriptor socket, const sockaddr_storage& peer);
  bool make_room_for(const AddressCounts::Key& address);
  void refuse_address(HttpConnection& connection);
  void pause_accepting();
  void log_shortage(const char* of);
  void poll_listening(uint32_t events);
  bool make_room();
  bool close_longest_idle();
  bool close_slowest(State state, Millis at_least);
  bool close_if_idle(HttpConnection& connection);

  void take_back_answered();
  void ring_once();
  void resume(HttpConnection& connection);
  void on_event(HttpConnection& connection);
  void read_from(HttpConnection& connection);
  static bool send_output(HttpConnection& connection);
  void discard_from(HttpConnection& connection);
  void advance(HttpConnection& connection);
  void await_more(HttpConnection& connection);
  void send_continue(HttpConnection& connection);
  void refuse(HttpConnection& connection, int status, const std::string& detail);
  void write_to(HttpConnection& connection);
  void after_answer(HttpConnection& connection);
  void linger(HttpConnection& connection);
  static bool has_unread(const HttpConnection& connection);
  void close(HttpConnection& connection);
  void expire();

  List& list(State state) { return lists_.at(static_cast<size_t>(state)); }
  const List& list(State state) const { return lists_.at(static_cast<size_t>(state)); }
  Millis timeout(State state) const;
  void enter(HttpConnection& connection, State state);
  void poll_for(HttpConnection& connection, uint32_t events);
  void forget_input(HttpConnection& connection);
  void recount(HttpConnection& connection);

  const Options options_;
  const Dispatch dispatch_;
  HttpDirect* const direct_;
  std::vector<FileDescriptor> listening_;
  FileDescriptor epoll_;
  Wakeup wakeup_;
  std::atomic<bool> stopping_ = false;

  std::mutex answered_mutex_;
  std::vector<HttpConnection*> answered_;     // Guarded by answered_mutex_.
  std::vector<std::function<void()>> tasks_;  // Likewise.
  bool rung_ = false;                         // Likewise.
  SteadyClock::time_point stop_deadline_{};   // Set before stopping_ is, and constant from then on.

  // Of the loop's thread. Within a list the first deadline is the nearest, because all members have
  // the same timeout and enter at the end.
  std::array<List, HttpConnection::kStates> lists_;
  size_t connections_ = 0;
  AddressCounts addresses_;
  size_t buffered_bytes_ = 0;
  bool accepting_ = true;
  bool stop_entered_ = false;
  SteadyClock::time_point accept_again_at_{};
  SteadyClock::time_point shortage_logged_at_{};
  SteadyClock::time_point refusal_logged_at_{};
  SteadyClock::time_point now_{};
  std::vector<HttpConnection*> taken_back_;
  std::vector<std::function<void()>> running_tasks_;
  std::vector<char> scratch_;

  Thread thread_;
};

}  // namespace postoffice
