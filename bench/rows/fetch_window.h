#pragma once

#include <chrono>

#include "bench/processes/deployment.h"
#include "bench/processes/service.h"

namespace postoffice::bench {

// What a worker did in a time in which it had enough to do. Any process counts that has
// postoffice_objects_stored_total among its /metrics.
struct FetchWindow {
  double stored = 0;  // Objects.
  double stored_per_second = 0;
  double cpu_us = 0;        // The worker's, for each object that it stored.
  double busy = 0;          // The same in cores.
  double objects_busy = 0;  // The object service's CPU in cores.
};

// Returns after `time`. Throws std::runtime_error when nothing was stored.
FetchWindow measure_fetches(const Service& worker, const ObjectService& objects,
                            std::chrono::milliseconds time);

}  // namespace postoffice::bench
