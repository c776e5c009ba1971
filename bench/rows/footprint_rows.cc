#include "bench/pipeline.h"
#include "bench/rows/memory_rows.h"
#include "bench/rows/start_rows.h"

namespace postoffice::bench {

void footprint_rows(const Bench& bench, Report& report) {
  memory_rows(bench, report);
  start_rows(bench, report);
}

}  // namespace postoffice::bench
