#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace postoffice::embedded {

// Where a record starts: the number of its segment, and the byte in the segment's file.
struct LogPosition {
  uint32_t segment = 0;
  uint32_t offset = 0;

  auto operator<=>(const LogPosition&) const = default;  // NOLINT(modernize-use-nullptr): false.
};

// What is at that place on disk is not what was written. what() names file and offset.
class LogCorrupt : public std::runtime_error {
 public:
  LogCorrupt(const std::filesystem::path& file, uint64_t offset, const std::string& why);

  const std::filesystem::path& file() const { return file_; }
  uint64_t offset() const { return offset_; }

 private:
  std::filesystem::path file_;
  uint64_t offset_;
};

// How the log asks for what may fail; tests have it fail.
struct LogDisk {
  std::function<ssize_t(int fd, const iovec* parts, int count, off_t offset)> pwritev = ::pwritev;
  std::function<int(int fd)> fdatasync = ::fdatasync;
};

// A durable, append-only log of records: a folder of segments, written by one thread of its own,
// which writes and syncs all that has come, reports it, and repeats. The format on disk and what
// recovery does: docs/embedded-log.md. It knows nothing of what the records mean.
//
// All calls come from one thread; only the Events come from the writer's. The folder belongs to
// one Log at a time: the caller sees to that (DataDirLock).
class Log {
 public:
  struct Options {
    std::filesystem::path folder;  // Made when it is missing.
    // Of a segment's file. A record that is bigger gets a segment of its own size.
    uint32_t segment_bytes = 64 << 20;
    LogDisk disk = {};
  };
  enum class State {
    kWritable,
    kFull,    // There is no room on disk. Nothing is lost; it is tried again every 500 ms.
    kFailed,  // For good: nothing that is not durable by now ever will be.
  };
  // Called on the writer's thread; must neither block nor call the Log.
  struct Events {
    std::function<void(uint64_t durable)> durable;  // Everything up to this sequence is on disk.
    std::function<void(State, std::string why)> state;  // After every change. The first: kWritable.
  };
  using Recovered = std::function<void(LogPosition, std::string_view record)>;

  static constexpr uint32_t kMaxRecordBytes = 1 << 30;

  // Throws Permanent when the folder cannot be used or was written by a newer version, Transient
  // when it cannot be read just now.
  Log(const Options& options, Events events);
  ~Log();  // stop()
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Once, before start(): every intact record in order. What was not completely written at the end
  // is cut; damage anywhere else is logged with file and offset, and skipped. Throws Transient.
  void recover(const Recovered& recovered);

  // Starts writing, in a new segment. After recover(). A Log that was stopped stays stopped.
  void start();
  // Writes and syncs what was appended, as far as there is room. Idempotent.
  void stop();

  // Takes one record, the parts put together, into memory. The bytes are copied. Nothing bounds
  // that memory but the caller, who looks at unwritten_bytes(). Throws Permanent beyond
  // kMaxRecordBytes.
  LogPosition append(std::initializer_list<std::string_view> parts);
  // Records appended since the log was opened: the sequence number of the last one.
  uint64_t appended() const;
  // Hands over to the writer what was appended. It is written at once or, if a write is under way,
  // right after that one. Frees the memory of what is durable.
  void flush();
  size_t unwritten_bytes() const;  // Appended and not yet durable, with the log's own overhead.

  // The record at `position`, durable or not, one that was not dropped. Throws LogCorrupt when it
  // is not intact, Transient when it cannot be read just now.
  std::string read(LogPosition position);

  uint32_t oldest_segment() const;
  uint32_t current_segment() const;  // Where the last record went; of an empty log, the first will.
  uint64_t bytes() const;  // Of all segments that are not dropped, as far as they are used.
  // Segments before that one are not needed any more, nor is anything that is still unwritten to
  // replace them. Their disk space is freed or used again, oldest first, by the writer.
  void drop_before(uint32_t segment);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace postoffice::embedded
