#pragma once

#include <httplib.h>

#include <atomic>
#include <string>

#include "base/http_loop.h"
#include "base/time.h"

namespace postoffice {

// Routing, parsing and formatting by cpp-httplib, on memory. All that Postoffice uses of
// cpp-httplib beyond its public interface is here: Server::process_request, which is protected.
// Written against 0.11.4 (Debian 12). With another version, check in httplib.h:
//
// - process_request(Stream&, bool close_connection, bool& connection_closed, setup_request): reads
//   one request from the stream and writes one answer to it, and nothing else happens to either.
// - That setup_request is called after the head was read and before the body: adapt() takes away
//   there what would make cpp-httplib read the body otherwise than HttpFraming did.
// - Which headers it acts on by itself: Range (renamed by HttpFraming), Accept-Encoding and Expect
//   (taken away), Keep-Alive and Accept-Ranges (taken out of the answer), REMOTE_ADDR.
// - Its limits on the request line and on a header line (8,192 bytes), within which HttpFraming's
//   is_plain() stays.
class HttpRoutes final : public httplib::Server {
 public:
  explicit HttpRoutes(size_t max_body_bytes);

  // The whole answer; `close`: it is the last one of its connection. Empty: there is none. Throws
  // what cpp-httplib throws outside of handlers. Any thread.
  std::string answer(const HttpConnection& connection, bool close);
  // For handlers: when the request that this thread answers was there as a whole.
  static SteadyClock::time_point request_arrived_at();

  std::atomic<bool> closing = false;  // Answers are the last of their connection from now on.
};

}  // namespace postoffice
