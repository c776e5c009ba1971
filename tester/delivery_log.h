#pragma once

#include <cstdint>
#include <mutex>
#include <string_view>

#include "base/time.h"

namespace postoffice::tester {

// Logs when callbacks begin to fail and when they are taken again, once each, however many fail
// between. They count as taken again when the last failure is a second ago. Thread-safe.
class DeliveryLog {
 public:
  void taken();
  void failed(std::string_view why);

 private:
  std::mutex mutex_;
  // Guarded by mutex_.
  uint64_t failures_ = 0;  // Since they began to fail; 0: they do not.
  SteadyClock::time_point last_failure_;
};

}  // namespace postoffice::tester
