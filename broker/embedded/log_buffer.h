#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "broker/embedded/log.h"

namespace postoffice::embedded {

// Bytes of one segment that are to be written.
struct LogSpan {
  LogPosition position;
  std::string_view bytes;
  uint64_t sequence = 0;  // Of the last record in it.
};

// What was appended and is not known to be durable, in memory that does not move. Used by the
// thread that appends; the writer only reads the bytes of spans it was given.
class LogBuffer {
 public:
  // Where to put the next bytes of the log, up to and with record number `sequence`.
  char* add(LogPosition position, size_t bytes, uint64_t sequence);
  // All that was added since the last take().
  std::vector<LogSpan> take();
  // Frees what is durable: all up to record number `sequence`.
  void release(uint64_t sequence);

  // From that position on, as far as it lies in one piece; none when it is not held.
  std::optional<std::string_view> find(LogPosition position) const;
  // Whatever comes before is durable; none: everything is.
  std::optional<LogPosition> begin() const;

 private:
  struct Chunk {
    LogPosition position;
    size_t capacity = 0;
    std::unique_ptr<char[]> bytes;
    size_t used = 0;
    size_t taken = 0;
    uint64_t sequence = 0;
  };

  std::deque<Chunk> chunks_;
};

}  // namespace postoffice::embedded
