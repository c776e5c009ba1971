#pragma once

#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/time.h"

namespace postoffice {

// Where the object service is, and the way there. One for all fetch threads: ten thousand that
// resolve the same name at once would be a load of their own. Thread-safe.
class ServiceAddress {
 public:
  struct Endpoint {
    sockaddr_storage address{};
    socklen_t length = 0;
  };
  using Endpoints = std::vector<Endpoint>;
  // All addresses of a host, or nothing and why there is none. May block.
  using Resolver = std::function<std::shared_ptr<const Endpoints>(const std::string& host,
                                                                  uint16_t port, std::string& why)>;

  // `objects_url`: http://[user:password@]host[:port][/path]. Throws BadConfig when it is none.
  explicit ServiceAddress(const std::string& objects_url) : ServiceAddress(objects_url, look_up) {}
  // With another resolver than the system's.
  ServiceAddress(const std::string& objects_url, Resolver resolver);

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  const std::string& user() const { return user_; }
  const std::string& password() const { return password_; }
  std::string path_of(int64_t id) const;  // "/objects/7"

  // A non-blocking TCP connection to the first of the host's addresses that takes one, starting
  // with the one that last did; each has its share of the time that is left, so that a silent one
  // does not hide those after it. Given up after `timeout`, at `deadline`, and when `stop_fd`
  // becomes readable. When there is none, the result is not open and `why` says what was wrong.
  //
  // No more than 256 connect at once, the others wait their turn: ten thousand together overflow
  // the backlog of any service, which then drops them without a word (measured here: every
  // fifteenth was not connected within 2 s).
  //
  // getaddrinfo(3) knows no deadline. One thread at a time waits in it, at most every 30 s; others
  // go on with what was known, or, when nothing was, wait for it until their deadline.
  FileDescriptor connect(Millis timeout, SteadyClock::time_point deadline, int stop_fd,
                         std::string& why);

 private:
  class Turn;

  std::shared_ptr<const Endpoints> endpoints(SteadyClock::time_point deadline, std::string& why);
  static std::shared_ptr<const Endpoints> look_up(const std::string& host, uint16_t port,
                                                  std::string& why);

  std::string host_;
  uint16_t port_ = 80;
  std::string user_;
  std::string password_;
  std::string base_path_;
  std::string name_;  // "localhost:9010", for reasons.
  const Resolver resolver_;

  std::mutex mutex_;  // Guards what follows.
  std::condition_variable resolved_;
  std::shared_ptr<const Endpoints> known_;
  std::string failure_;
  SteadyClock::time_point ask_again_{};
  bool resolving_ = false;
  std::condition_variable turn_over_;
  int connecting_ = 0;

  std::atomic<size_t> preferred_ = 0;  // Index of the endpoint that last took a connection.
};

}  // namespace postoffice
