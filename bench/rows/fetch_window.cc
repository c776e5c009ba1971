#include "bench/rows/fetch_window.h"

#include <stdexcept>
#include <thread>

#include "bench/processes/process.h"

namespace postoffice::bench {
namespace {

struct Reading {
  std::chrono::steady_clock::time_point at;
  double stored = 0;
  double worker_cpu_us = 0;
  double objects_cpu_us = 0;
};

Reading read(const Service& worker, const ObjectService& objects) {
  return {.at = std::chrono::steady_clock::now(),
          .stored = worker.metric("postoffice_objects_stored_total"),
          .worker_cpu_us = static_cast<double>(cpu_time(worker.pid()).count()),
          .objects_cpu_us = static_cast<double>(cpu_time(objects.pid()).count())};
}

}  // namespace

FetchWindow measure_fetches(const Service& worker, const ObjectService& objects,
                            std::chrono::milliseconds time) {
  const auto first = read(worker, objects);
  Reading last = first;
  // A machine that is busy with other things is given more of them.
  for (int windows = 0; windows < 10 && last.stored <= first.stored; ++windows) {
    std::this_thread::sleep_for(time);
    last = read(worker, objects);
  }
  const double seconds = std::chrono::duration<double>(last.at - first.at).count();
  const double stored = last.stored - first.stored;
  if (stored <= 0) throw std::runtime_error("the worker has stored nothing");
  const double cpu_us = last.worker_cpu_us - first.worker_cpu_us;
  return {.stored = stored,
          .stored_per_second = stored / seconds,
          .cpu_us = cpu_us / stored,
          .busy = cpu_us / 1e6 / seconds,
          .objects_busy = (last.objects_cpu_us - first.objects_cpu_us) / 1e6 / seconds};
}

}  // namespace postoffice::bench
