#pragma once

#include "bench/pipeline.h"

namespace postoffice::bench {

// How long after its last answer everything is stored that a burst of callbacks named.
void burst_row(const Bench& bench, Report& report);

}  // namespace postoffice::bench
