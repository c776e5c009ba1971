// The embedded broker alone, for tests that kill it: faults_broker FOLDER PORT SEGMENT_BYTES

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "base/log.h"
#include "broker/embedded/broker.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    postoffice::set_up_log("warn");
    postoffice::Metrics metrics;
    postoffice::embedded::Broker::Options options;
    options.folder = argv[1];
    options.port = static_cast<uint16_t>(std::atoi(argv[2]));
    options.segment_bytes = static_cast<uint32_t>(std::atol(argv[3]));
    postoffice::embedded::Broker broker(options, metrics);
    broker.start();
    while (true) pause();
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
