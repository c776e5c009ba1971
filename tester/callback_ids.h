#pragma once

#include <cstdint>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

namespace postoffice::tester {

// Chooses the ids that callbacks name, out of 0 to `id_space` - 1. Thread-safe.
class CallbackIds {
 public:
  enum class Mode {
    kRandom,      // Each id equally likely, also several times in one callback.
    kSequential,  // One after another over all callbacks, from 0 again after the last.
  };
  // A callback names `count.first` to `count.second` ids, all numbers equally likely.
  CallbackIds(Mode mode, int64_t id_space, std::pair<int64_t, int64_t> count);

  std::vector<int64_t> next();

 private:
  const Mode mode_;
  const int64_t id_space_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::mt19937_64 random_;
  std::uniform_int_distribution<int64_t> count_;
  int64_t next_id_ = 0;
};

}  // namespace postoffice::tester
