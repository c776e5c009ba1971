// What Postoffice does as the work grows: scripts/bench growth.

#include "bench/growth/growth.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <stdexcept>
#include <string>

#include "base/open_files.h"
#include "bench/table.h"

namespace postoffice::bench {
namespace {

// A line for each point, written at once: a run that is ended leaves what it has measured.
class Lines {
 public:
  explicit Lines(const std::string& file) : file_(fopen(file.c_str(), "w")) {
    if (file_ == nullptr) throw std::runtime_error("cannot write " + file);
    fprintf(file_, "sweep,x,unit_x,y,unit_y,cpu_us,note\n");
  }
  ~Lines() { fclose(file_); }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  void add(const Sweep& sweep, uint64_t x, const Point& point) {
    fprintf(file_, "%s,%s,%s,%.6g,%s,%s,%s\n", sweep.name.c_str(), std::to_string(x).c_str(),
            sweep.unit.c_str(), point.y, point.unit.c_str(), cpu(point).c_str(),
            point.note.c_str());
    fflush(file_);
    printf("%s, %s %s: %s %s%s%s\n", sweep.name.c_str(), std::to_string(x).c_str(),
           sweep.unit.c_str(), number(point.y).c_str(), point.unit.c_str(),
           point.note.empty() ? "" : "; ", point.note.c_str());
    fflush(stdout);
  }

  void add_end(const Sweep& sweep, uint64_t x, std::string why) {
    std::ranges::replace_if(
        why, [](char c) { return strchr(",\"\r\n", c) != nullptr; }, ' ');
    fprintf(file_, "%s,%s,%s,,,,%s\n", sweep.name.c_str(), std::to_string(x).c_str(),
            sweep.unit.c_str(), why.c_str());
    fflush(file_);
    printf("%s, %s %s: ended: %s\n", sweep.name.c_str(), std::to_string(x).c_str(),
           sweep.unit.c_str(), why.c_str());
    fflush(stdout);
  }

 private:
  static std::string cpu(const Point& point) {
    if (point.cpu_us <= 0) return "";
    char text[32];
    snprintf(text, sizeof(text), "%.4g", point.cpu_us);
    return text;
  }

  FILE* const file_;
};

void run(const Sweep& sweep, Lines& lines) {
  uint64_t x = sweep.steps.front();
  try {
    const auto measure = sweep.begin();
    for (const uint64_t step : sweep.steps) {
      x = step;
      for (const auto& point : measure(x)) lines.add(sweep, x, point);
    }
  } catch (const std::exception& error) {
    lines.add_end(sweep, x, error.what());
  }
}

}  // namespace

std::vector<uint64_t> doubling(const Bench& bench, uint64_t first, uint64_t last, uint64_t factor) {
  std::vector<uint64_t> steps;
  for (uint64_t x = first; x <= last && !(bench.quick && steps.size() == 2); x *= factor) {
    steps.push_back(x);
  }
  return steps;
}

}  // namespace postoffice::bench

// growth_bench ROOT SERVICES FOLDER CSV [--quick] [SWEEP...]; AMQP_URL, DATABASE_URL and
// POSTGRES_PID of the services are in the environment.
int main(int argc, char** argv) {
  using namespace postoffice::bench;
  if (argc < 5) {
    fprintf(stderr, "usage: scripts/bench growth [--quick] [SWEEP...]\n");
    return 2;
  }
  Bench bench;
  bench.root = argv[1];
  bench.services = argv[2];
  bench.folder = argv[3];
  bench.duration = std::chrono::milliseconds(1500);
  std::vector<std::string> wanted;
  for (int i = 5; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      bench.quick = true;
      bench.warm_up = std::chrono::milliseconds(100);
      bench.duration = std::chrono::milliseconds(300);
    } else {
      wanted.emplace_back(argv[i]);
    }
  }
  try {
    for (const char* const name : {"AMQP_URL", "DATABASE_URL", "POSTGRES_PID"}) {
      // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread.
      const char* const value = std::getenv(name);
      if (value == nullptr) throw std::runtime_error(std::string(name) + " is not set");
      bench.environment[name] = value;
    }
    auto sweeps = callback_sweeps(bench);
    std::ranges::move(object_sweeps(bench), std::back_inserter(sweeps));
    for (const auto& name : wanted) {
      if (std::ranges::none_of(sweeps, [&](const Sweep& sweep) { return sweep.name == name; })) {
        throw std::runtime_error("there is no sweep \"" + name + "\"");
      }
    }
    postoffice::raise_open_files();
    Lines lines(argv[4]);
    for (const auto& sweep : sweeps) {
      if (wanted.empty() || std::ranges::find(wanted, sweep.name) != wanted.end()) {
        run(sweep, lines);
      }
    }
  } catch (const std::exception& error) {
    fprintf(stderr, "growth_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
