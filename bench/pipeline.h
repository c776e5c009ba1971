#pragma once

#include <chrono>
#include <map>
#include <string>

#include "bench/report.h"

namespace postoffice::bench {

// What every group of rows is measured with.
struct Bench {
  std::string root;      // The source tree; programs are in build/bench/bin.
  std::string services;  // What was given to scripts/services: RabbitMQ and PostgreSQL run.
  std::string folder;    // For data; on the disk that is measured.
  std::string node;      // The Node.js peers with their packages.
  std::map<std::string, std::string> environment;  // services/env: AMQP_URL, DATABASE_URL...
  bool quick = false;                              // Only proves that it runs.
  int rounds = 5;
  std::chrono::milliseconds warm_up{500};
  std::chrono::milliseconds duration{3000};
  std::chrono::milliseconds pause{500};  // For what a run leaves to be done.

  std::string program(const std::string& name) const { return root + "/build/bench/bin/" + name; }
};

// Each measures its rows and adds them. Throws std::runtime_error.
void ingest_rows(const Bench& bench, Report& report);     // POST /callback.
void fetch_rows(const Bench& bench, Report& report);      // The worker.
void store_rows(const Bench& bench, Report& report);      // The database.
void crowd_rows(const Bench& bench, Report& report);      // Many who want nothing, or slowly.
void footprint_rows(const Bench& bench, Report& report);  // Memory and start.

}  // namespace postoffice::bench
