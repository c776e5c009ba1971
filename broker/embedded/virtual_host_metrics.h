#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "broker/embedded/virtual_host.h"

namespace postoffice::embedded {

// The metrics of one virtual host, brought up to date by update().
class VirtualHostMetrics {
 public:
  // Both outlive it.
  VirtualHostMetrics(const VirtualHost& vhost, Metrics& metrics);

  void update();

 private:
  struct Count {
    prometheus::Counter& counter;
    uint64_t Traffic::*value;
    uint64_t shown = 0;
  };

  const VirtualHost& vhost_;
  std::vector<Count> counts_;
  prometheus::Gauge& queues_;
  prometheus::Gauge& ready_;
};

}  // namespace postoffice::embedded
