#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/time.h"
#include "broker/embedded/log.h"
#include "broker/embedded/log_format.h"

namespace postoffice::embedded {

// Reads records from the files, through windows that it keeps: records that lie in order cost one
// system call a window.
class LogReader {
 public:
  explicit LogReader(std::filesystem::path folder);

  // `end`: how much of that segment is durable. Throws LogCorrupt, also for what the disk has
  // failed to read (EIO) for half a minute, and Transient.
  std::string read(LogPosition position, uint64_t end, LogSalt salt);
  // Segments before that one are not asked for again, and their files may become others.
  void forget_before(uint32_t segment);

 private:
  struct Window {
    uint32_t segment = 0;
    uint64_t offset = 0;
    size_t bytes = 0;  // 0: none.
    std::unique_ptr<char[]> data;
    uint64_t last_used = 0;
  };

  std::string read_record(LogPosition position, uint64_t end, LogSalt salt);
  void copy(LogPosition from, uint64_t end, char* to, size_t bytes);
  const Window& window(uint32_t segment, uint64_t offset, uint64_t wanted_end, uint64_t end);
  void read_file(uint32_t segment, uint64_t offset, char* to, size_t bytes);
  int file(uint32_t segment);

  const std::filesystem::path folder_;
  std::map<uint32_t, FileDescriptor> files_;
  FileDescriptor reserve_;  // Closed to open another when there are too many.
  std::vector<Window> windows_;
  uint64_t uses_ = 0;
  std::map<LogPosition, SteadyClock::time_point> failing_;  // Since when.
};

}  // namespace postoffice::embedded
