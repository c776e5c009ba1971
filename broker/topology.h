#pragma once

#include <array>
#include <chrono>
#include <string>
#include <string_view>

#include "base/time.h"

namespace postoffice {

// The exchange and queues that servers and workers share. Routing keys on the exchange are the
// queue names.
namespace topology {

inline constexpr std::string_view kExchange = "postoffice";  // direct, durable
inline constexpr std::string_view kCallbacks = "postoffice.callbacks";
inline constexpr std::string_view kCallbacksDead = "postoffice.callbacks.dead";

// A delayed retry: messages wait here for `delay` (x-message-ttl) and are dead-lettered back to
// kCallbacks. Several queues, because a message's own TTL only expires at the head of its queue.
struct RetryQueue {
  std::string_view name;
  Millis delay;
};
inline constexpr std::array<RetryQueue, 4> kCallbacksRetry = {{
    {"postoffice.callbacks.retry.500ms", Millis(500)},
    {"postoffice.callbacks.retry.2s", Millis(2000)},
    {"postoffice.callbacks.retry.8s", Millis(8000)},
    {"postoffice.callbacks.retry.30s", Millis(30000)},
}};

}  // namespace topology

class AmqpConnection;

// Declares all of the above on `connection`: quorum queues, at-least-once dead-lettering,
// reject-publish; `x-delivery-limit: -1` only on RabbitMQ 4 and later. What exists with other
// arguments (406) is declared passively, with one warning a process, and used as it is. Throws
// Transient when the connection is lost or the broker does not answer in time, or refuses for
// another reason.
void declare_topology(AmqpConnection& connection);

}  // namespace postoffice
