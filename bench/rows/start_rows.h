#pragma once

#include "bench/pipeline.h"

namespace postoffice::bench {

// How long after exec() serve answers its first callback with 202, after SIGKILL.
void start_rows(const Bench& bench, Report& report);

}  // namespace postoffice::bench
