#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace postoffice::bench {

// Callbacks that name distinct ids: first_id, first_id + 1 and so on.
struct DistinctIds {
  int64_t first_id = 0;
  size_t callbacks = 0;
  size_t ids_each = 200;
};

// {"object_ids":[...]} of `count` ids from `first_id` on, `times` times.
std::string callback_body(int64_t first_id, size_t count, size_t times = 1);

// POSTs `callbacks` callbacks to a server on loopback, on as many connections at once; `body` is
// called on several threads. Returns when the last one is answered. Throws std::runtime_error
// unless all are answered with 202.
void post_callbacks(uint16_t port, size_t callbacks, size_t connections,
                    const std::function<std::string(size_t index)>& body);
void post_callbacks(uint16_t port, const DistinctIds& ids, size_t connections = 16);

// Publishes them to the exchange as serve does, in messages of up to `message_bytes`, at least one
// callback in each. Returns when the broker has confirmed all. Throws std::runtime_error when it
// refuses one.
void publish_callbacks(const std::string& amqp_url, const DistinctIds& ids, size_t message_bytes);

}  // namespace postoffice::bench
