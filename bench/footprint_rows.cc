#include "bench/pipeline.h"

namespace postoffice::bench {

void footprint_rows(const Bench& /*bench*/, Report& /*report*/) {}

}  // namespace postoffice::bench
