#include "tester/delivery_log.h"

#include <spdlog/spdlog.h>

namespace postoffice::tester {
namespace {

constexpr std::chrono::seconds kQuiet{1};

}  // namespace

void DeliveryLog::taken() {
  const std::lock_guard lock(mutex_);
  if (failures_ == 0 || SteadyClock::now() - last_failure_ < kQuiet) return;
  spdlog::info("callbacks are taken again; {} were not", failures_);
  failures_ = 0;
}

void DeliveryLog::failed(std::string_view why) {
  const std::lock_guard lock(mutex_);
  if (failures_++ == 0) spdlog::warn("callbacks are not taken: {}", why);
  last_failure_ = SteadyClock::now();
}

}  // namespace postoffice::tester
