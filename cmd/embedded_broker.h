#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "broker/embedded/broker.h"
#include "cmd/config.h"

namespace postoffice {

// serve's own broker, on disk in DATA_DIR/broker; nothing when AMQP_URL is set. Throws BadConfig
// when the port is in use or the folder cannot be used. `failed` is called on the broker's thread,
// once, when its disk has failed. `metrics` outlives it.
std::unique_ptr<embedded::Broker> make_embedded_broker(const Config& config, Metrics& metrics,
                                                       std::function<void()> failed);

}  // namespace postoffice
