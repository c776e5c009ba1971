#include "bench/pipeline.h"

namespace postoffice::bench {

void fetch_rows(const Bench& /*bench*/, Report& /*report*/) {}

}  // namespace postoffice::bench
