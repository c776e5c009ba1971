#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "base/thread.h"
#include "base/time.h"
#include "base/wakeup.h"
#include "tester/http_answer.h"

struct epoll_event;

namespace postoffice::tester {

// An HTTP/1.x server on one thread and epoll that holds answers back for as long as its handler
// says: ten thousand waiting requests cost their sockets, a few hundred bytes each, and a place in
// an ordered set. Requests of one connection are answered one after another, pipelined ones too. A
// client that ends its side of the connection is taken to be gone.
class AnswerLoop {
 public:
  // Binds. Throws BadConfig when host and port cannot be had. Port 0: any that is free.
  // `handler` outlives this.
  AnswerLoop(const std::string& host, uint16_t port, HttpHandler& handler);
  ~AnswerLoop();
  AnswerLoop(const AnswerLoop&) = delete;
  AnswerLoop& operator=(const AnswerLoop&) = delete;

  void start();
  // Ends the thread and every connection, answered or not. Idempotent.
  void stop();

  uint16_t port() const { return port_; }

 private:
  struct Connection;
  using TimePoint = SteadyClock::time_point;

  void run();
  void handle_event(const epoll_event& event);
  int poll_timeout_millis() const;
  void add_to_epoll(int fd, uint32_t generation);

  void accept_all(int listening);
  void pause_accepting(bool paused);
  void open_connection(int fd);
  // The connection is gone afterwards. With `reset` the client sees RST instead of an end.
  void close_connection(int fd, bool reset = false);

  // These return false when they have closed the connection.
  bool read_some(int fd, Connection& connection);
  bool advance(int fd, Connection& connection);
  bool handle_requests(int fd, Connection& connection, size_t& used_bytes);
  bool begin(int fd, Connection& connection, HttpAnswer answer);
  bool flush(int fd, Connection& connection);

  void deliver(Connection& connection, const HttpAnswer& answer);
  void refuse(Connection& connection, int status);
  void deliver_due();
  void watch(int fd, Connection& connection);

  HttpHandler& handler_;
  Wakeup wakeup_;
  std::vector<FileDescriptor> listening_;
  const uint16_t port_;
  FileDescriptor epoll_;
  std::atomic<bool> stopping_ = false;
  Thread thread_;

  // Used by the thread alone.
  std::vector<std::unique_ptr<Connection>> connections_;  // By file descriptor.
  std::set<std::pair<TimePoint, int>> due_;               // Connections whose answer waits.
  uint32_t last_generation_ = 0;
  bool accepting_paused_ = false;
  bool shortage_logged_ = false;
  TimePoint accept_again_;
  std::array<char, size_t{64} << 10> received_{};
};

}  // namespace postoffice::tester
