#include "broker/poll.h"

#include <algorithm>
#include <cerrno>
#include <limits>

namespace postoffice {

bool poll_until(std::span<pollfd> fds, SteadyClock::time_point deadline) noexcept {
  while (true) {
    // Rounded up: a wait of 0 ms for the last half millisecond would spin.
    const auto left = std::chrono::ceil<Millis>(deadline - SteadyClock::now()).count();
    const auto timeout =
        static_cast<int>(std::clamp<int64_t>(left, 0, std::numeric_limits<int>::max()));
    const int ready = poll(fds.data(), fds.size(), timeout);
    if (ready >= 0) return ready > 0;
    if (errno != EINTR) return false;
  }
}

}  // namespace postoffice
