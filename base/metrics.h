#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>

namespace postoffice {

// The process's metrics, named `postoffice_<noun>_<unit>[_total]`. What is returned lives as long
// as this does, and is thread-safe. Asking twice for the same name and labels gives the same
// metric.
class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;

  prometheus::Counter& counter(const std::string& name, const std::string& help,
                               const Labels& labels = {});
  prometheus::Gauge& gauge(const std::string& name, const std::string& help,
                           const Labels& labels = {});
  // `bounds` are upper bounds in the unit that the name ends in, rising.
  prometheus::Histogram& histogram(const std::string& name, const std::string& help,
                                   const prometheus::Histogram::BucketBoundaries& bounds,
                                   const Labels& labels = {});

  // Prometheus text format 0.0.4.
  std::string text() const;

 private:
  prometheus::Registry registry_;
};

}  // namespace postoffice
