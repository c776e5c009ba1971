#pragma once

#include <poll.h>

#include <span>

#include "base/time.h"

namespace postoffice {

// poll(2) until `deadline`, whatever signals arrive. True when something is ready. An error of
// poll itself (out of memory) counts as nothing being ready.
bool poll_until(std::span<pollfd> fds, SteadyClock::time_point deadline) noexcept;

}  // namespace postoffice
