#include "bench/pipeline.h"

namespace postoffice::bench {

void ingest_rows(const Bench& /*bench*/, Report& /*report*/) {}

}  // namespace postoffice::bench
