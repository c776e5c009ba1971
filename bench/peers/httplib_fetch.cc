// What fetching costs by itself: threads that each ask an object service over a kept-alive
// connection of cpp-httplib, one question after another.

#include <httplib.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "base/thread.h"

namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // As the worker's.

struct Fetches {
  const int port;
  std::atomic<int64_t> next_id = 0;
  std::atomic<int64_t> answered = 0;
};

void fetch(Fetches& fetches) {
  httplib::Client client("127.0.0.1", fetches.port);
  client.set_keep_alive(true);
  client.set_read_timeout(std::chrono::seconds(10));
  for (;;) {
    const auto answer = client.Get("/objects/" + std::to_string(fetches.next_id++));
    if (answer && answer->status == 200) ++fetches.answered;
  }
}

double cpu_us() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

void wait(const char* seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(std::atof(seconds)));
}

}  // namespace

// httplib_fetch PORT THREADS WARM_UP_SECONDS SECONDS: prints how many were answered in the seconds
// after the warm-up, and the microseconds of CPU that they took.
int main(int argc, char** argv) {
  if (argc != 5) return 2;
  Fetches fetches{std::atoi(argv[1])};
  std::vector<postoffice::Thread> threads;
  const auto count = static_cast<size_t>(std::atoi(argv[2]));
  threads.reserve(count);
  while (threads.size() < count) {
    threads.emplace_back(
        "fetch", [&fetches] { fetch(fetches); }, kStackBytes);
  }
  wait(argv[3]);
  const auto answered = fetches.answered.load();
  const double cpu = cpu_us();
  wait(argv[4]);
  printf("%lld %.0f\n", static_cast<long long>(fetches.answered - answered), cpu_us() - cpu);
  fflush(stdout);
  std::_Exit(0);  // The threads ask on.
}
