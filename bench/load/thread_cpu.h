#pragma once

#include <sys/resource.h>

#include <chrono>

namespace postoffice::bench {

// CPU that this thread has used.
inline std::chrono::microseconds thread_cpu() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  const auto micros = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

}  // namespace postoffice::bench
