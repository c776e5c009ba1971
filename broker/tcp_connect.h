#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "broker/interrupt.h"

namespace postoffice {

// A connected, non-blocking TCP socket (CLOEXEC, TCP_NODELAY, SO_KEEPALIVE) to `host`, a name or an
// address. All addresses of a name are tried in turn, each with its share of the time left. Throws
// Transient when none answers by `deadline`, or when `interrupt`, which may be null, is fired. The
// caller closes the socket.
int connect_tcp(const std::string& host, uint16_t port, SteadyClock::time_point deadline,
                const Interrupt* interrupt);

}  // namespace postoffice
