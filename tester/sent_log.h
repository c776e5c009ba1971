#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/time.h"

namespace postoffice::tester {

// The file of all that was sent, a line for each:
//
//   <unix ms before sending> <status, or 0 without answer> <latency in us> <id,id,...>
//
// A line is written by one write(2) as soon as its callback was answered or given up, so a killed
// process loses no line that was there. Only the last line can be cut short, by a kill in the
// middle of its write: it then lacks its line end, and is removed when the file is opened again.
// Thread-safe.
class SentLog {
 public:
  // Appends to the file, which is made when there is none. Throws BadConfig when it cannot be
  // written.
  explicit SentLog(const std::string& path);

  void append(UnixTime sent_at, int status, std::chrono::microseconds latency,
              const std::vector<int64_t>& ids);

  // False once a line could not be written (which is logged).
  bool complete() const;

 private:
  void remove_cut_line(const std::string& path);

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  FileDescriptor file_;
  bool complete_ = true;
};

}  // namespace postoffice::tester
