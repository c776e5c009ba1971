#pragma once

#include "bench/pipeline.h"

namespace postoffice::bench {

// The worker beside bench/peers/node/worker.js, both between RabbitMQ and PostgreSQL.
void node_fetch_rows(const Bench& bench, Report& report);

}  // namespace postoffice::bench
