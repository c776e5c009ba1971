#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/time.h"
#include "worker/fetch_result.h"
#include "worker/service_address.h"

namespace postoffice {

// Asks the object service: GET <OBJECTS_URL>/<id>, over one keep-alive connection. One a thread;
// not thread-safe. Costs, per client, about a KiB while it has no connection.
class ObjectClient {
 public:
  struct Options {
    Millis connect_timeout{2000};
    Millis attempt_timeout{10'000};  // From the start of the attempt to the end of the answer.
    size_t most_body_bytes = 64 * 1024;
  };

  // `address` outlives this. Who makes `stop_fd` readable calls interrupt() then: an attempt ends
  // at once.
  ObjectClient(const Options& options, ServiceAddress& address, int stop_fd);
  ~ObjectClient();

  // One attempt; never throws, never takes longer than the attempt timeout. Redirects are not
  // followed and the Content-Type is not looked at. A kept connection that turns out to be closed
  // is replaced by a new one within the same attempt: services close idle ones when they like.
  FetchResult fetch(int64_t id);

  // From any thread, once `stop_fd` is readable: ends the attempt under way where it does not look
  // at that, and all to come.
  void interrupt();

 private:
  class Exchange;
  std::unique_ptr<Exchange> exchange_;
};

}  // namespace postoffice
