#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/pipeline.h"

namespace postoffice::bench {

// One thing that was measured at one step.
struct Point {
  double y = 0;
  std::string unit;
  double cpu_us = 0;  // Of the process that does the work, for each of what y counts; 0: not known.
  std::string note;   // "name=value name=value".
};

// A quantity that grows step by step while everything else stays as it is.
struct Sweep {
  // Measures one step. What it captures lives from the first step to the last.
  using Measure = std::function<std::vector<Point>(uint64_t x)>;

  std::string name;
  std::string unit;  // Of x.
  std::vector<uint64_t> steps;
  std::function<Measure()> begin;  // Both throw when something breaks: the sweep ends there.
};

// `first`, twice that, and so on up to `last`; the first two only when it is to be quick.
std::vector<uint64_t> doubling(const Bench& bench, uint64_t first, uint64_t last,
                               uint64_t factor = 2);

// `bench` outlives what is returned.
std::vector<Sweep> callback_sweeps(const Bench& bench);  // POST /callback.
std::vector<Sweep> object_sweeps(const Bench& bench);    // Workers and database.

}  // namespace postoffice::bench
