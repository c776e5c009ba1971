#pragma once

#include <httplib.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/http_answer.h"
#include "base/http_loop.h"
#include "base/time.h"

namespace postoffice {

class HttpRoutes;

// cpp-httplib's routes behind an event loop and listening sockets of our own: whole requests are
// gathered by one thread (base/http_loop.h) and handled by a pool, so that idle and slow clients
// hold no pool thread. Routes are added through `routes()` before start(); handlers run on pool
// threads.
//
// - `Request::body` is the body as it was sent, whatever its Content-Type; forms are not parsed.
//   Content-Encoding is refused with 415. Range and Accept-Encoding are not looked at.
// - What is refused before a handler sees it (no route, malformed, too large, too slow) is answered
//   with application/problem+json (RFC 9457) like every other error. A handler that throws answers
//   500, and is logged.
// - Connections last for any number of requests.
class HttpServer {
 public:
  struct Options {
    std::string host =
        "localhost";      // "localhost": both loopback addresses, whichever the machine has.
    uint16_t port = 0;    // 0: any free one (for tests); see port().
    size_t threads = 64;  // At most; each is started when it is needed for the first time.
    size_t max_body_bytes = 1 << 20;  // Enforced while reading, chunked bodies too: 413.
    // 0: as many as the limit of open files allows, and three quarters of those.
    size_t max_connections = 0;
    size_t max_connections_per_address = 0;
    size_t max_buffered_bytes = 256 << 20;  // Of requests in memory, larger ones: 503.
    Millis read_timeout{5000};              // For a whole request, from its first byte: 408.
    Millis body_timeout{30'000};            // For the rest of a body of more than 64 KiB.
    // Between two requests of a connection. Long, so that a client which sends every few seconds
    // does not race with it; the longest idle make room when connections run out.
    Millis keep_alive_timeout{75'000};
    // Names of the settings above, for errors.
    std::string host_setting = "SERVER_HOST";
    std::string port_setting = "SERVER_PORT";
    std::string max_body_setting = "MAX_CALLBACK_BYTES";
    std::string max_connections_per_address_setting = "HTTP_CONNECTIONS_PER_ADDRESS";
  };

  explicit HttpServer(Options options);
  ~HttpServer();  // Stops at once if stop() was not called.

  // Error, exception and post-routing handlers and the payload limit are taken.
  httplib::Server& routes();

  // Before start(). `direct` is asked first for plain requests and outlives the server; what it
  // took is answered before the server is destroyed, or never.
  void set_direct(HttpDirect& direct);
  // For `direct`: runs `task` on the loop's thread, unless the server has stopped. Any thread.
  void post(std::function<void()> task);
  // For `direct`: answers a request that it took. The loop's thread.
  void answer_direct(HttpConnection& connection, const HttpAnswer& answer);

  // Binds, listens and returns. Throws BadConfig naming setting, host and port when they cannot be
  // had. Once.
  void start();
  // Stops accepting, lets requests in flight be answered until `deadline`, then closes what is
  // left. Returns when the last handler has returned, so handlers must be bounded. Idempotent.
  void stop(SteadyClock::time_point deadline);

  // For handlers: when the request that this thread handles was there as a whole. It may have
  // waited for the thread since.
  static SteadyClock::time_point request_arrived_at();

  // The bound port, after start().
  uint16_t port() const;

 private:
  class Listener;
  std::unique_ptr<HttpRoutes> routes_;
  HttpDirect* direct_ = nullptr;
  std::unique_ptr<Listener> listener_;
};

// Answers with application/problem+json: `detail` says what to change.
void answer_problem(httplib::Response& response, int status, const std::string& detail);

}  // namespace postoffice
