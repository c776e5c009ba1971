#pragma once

#include "bench/pipeline.h"

namespace postoffice::bench {

// Resident memory of serve and worker. MB and KB are powers of ten.
void memory_rows(const Bench& bench, Report& report);

}  // namespace postoffice::bench
