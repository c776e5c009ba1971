#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/thread.h"
#include "base/time.h"
#include "base/wakeup.h"

namespace postoffice::testing {

// A whole HTTP answer.
std::string http_answer(int status, const std::string& body, const std::string& headers = "");
// 200 with {"id":<id>,"online":<online>}.
std::string object_answer(int64_t id, bool online);

// An object service over real sockets on 127.0.0.1, a thread a connection, whose behaviour the test
// scripts byte by byte. Even ids are online unless the script says otherwise.
class ObjectService {
 public:
  // One request, being answered.
  class Exchange {
   public:
    int64_t id = 0;
    int number = 0;    // Counts the requests for this id from 1.
    std::string head;  // The whole head of the request.

    void answer() { send(object_answer(id, id % 2 == 0)); }
    void answer(int status, const std::string& headers = "") {
      send(http_answer(status, "{}", headers));
    }
    // False when the client has gone or the service stops.
    bool send(const std::string& bytes);
    // False when the client has gone or the service stops meanwhile.
    bool wait(Millis time);
    // Until the client has gone or the service stops.
    void hang() { wait(std::chrono::hours(1)); }
    void close() { is_closed_ = true; }

   private:
    friend class ObjectService;
    int fd_ = -1;
    int stop_fd_ = -1;
    bool is_closed_ = false;
  };
  using Script = std::function<void(Exchange&)>;

  explicit ObjectService(Script script = [](Exchange& exchange) { exchange.answer(); });
  ~ObjectService();

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/objects"; }
  uint16_t port() const { return port_; }
  void set_script(Script script);

  // Closes the listener and all connections; start() listens on the same port again.
  void stop();
  void start();

  int requests() const;
  int requests_for(int64_t id) const;
  // Ids in the order of their requests.
  std::vector<int64_t> order() const;
  int connections() const;
  // Requests being answered now, and the most at once so far.
  int under_way() const;
  int most_under_way() const;

 private:
  void accept_all(int listener);
  void serve(int fd);
  bool read_request(Exchange& exchange, std::string& buffer) const;
  bool begin(Exchange& exchange, Script& script);

  uint16_t port_ = 0;
  std::unique_ptr<Wakeup> stop_;
  Thread acceptor_;

  mutable std::mutex mutex_;  // Guards what follows.
  Script script_;
  std::vector<Thread> threads_;
  std::map<int64_t, int> counts_;
  std::vector<int64_t> order_;
  int connections_ = 0;
  int under_way_ = 0;
  int most_under_way_ = 0;
};

}  // namespace postoffice::testing
