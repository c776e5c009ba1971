#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace postoffice::embedded {

// The bytes of the log on disk: docs/embedded-log.md.

inline constexpr uint32_t kSegmentHeaderBytes = 64;
inline constexpr uint32_t kRecordHeaderBytes = 16;
inline constexpr uint32_t kRecordAlignment = 8;

// Random for each segment and part of each record's header: bytes that were there before, and
// bytes that a client chose, are not taken for records.
struct LogSalt {
  uint32_t tag = 0;  // Never 0.
  uint32_t seed = 0;

  static LogSalt random();
};

// Writes kSegmentHeaderBytes.
void write_segment_header(char* to, uint32_t number, LogSalt salt);

struct SegmentHeader {
  std::optional<LogSalt> salt;  // None: there is no intact header of that segment.
  // One of the two copies is damaged, or both are and it was not just never written.
  bool damaged = false;
};
// `bytes` may be shorter than a header. Throws Permanent when a newer version wrote it.
SegmentHeader read_segment_header(std::string_view bytes, uint32_t number);

// What a record of that many bytes takes on disk.
constexpr uint64_t record_bytes(uint64_t length) {
  return (kRecordHeaderBytes + length + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
}

// Pads the record of `length` bytes that was put at `to` + kRecordHeaderBytes and writes its header
// at `to`. `offset`: that of the record in its segment.
void finish_record(char* to, uint32_t length, uint32_t offset, LogSalt salt);

struct RecordHeader {
  uint32_t length = 0;
  uint32_t checksum = 0;

  // Of the record, read from `bytes` with its padding.
  bool matches(std::string_view bytes) const;
};
// None when `bytes` does not begin with the intact header of a record at `offset`.
std::optional<RecordHeader> read_record_header(std::string_view bytes, uint32_t offset,
                                               LogSalt salt);
// The record at the beginning of `bytes`, without its header; none when it is not intact.
std::optional<std::string_view> intact_record(std::string_view bytes, uint32_t offset,
                                              LogSalt salt);

}  // namespace postoffice::embedded
