#include "broker/embedded/log_format.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>
#include <string>

#include "base/error.h"
#include "broker/embedded/log_crc.h"

namespace postoffice::embedded {
namespace {

static_assert(std::endian::native == std::endian::little, "the log is written little-endian");

constexpr uint32_t kVersion = 1;
constexpr char kMagic[8] = {'P', 'O', 'S', 'T', 'L', 'O', 'G', '\n'};

template <typename T>
std::string_view bytes_of(const T& value, size_t count = sizeof(T)) {
  return {reinterpret_cast<const char*>(&value), count};
}

struct SegmentHeaderBytes {
  char magic[8];
  uint32_t version;
  uint32_t number;
  LogSalt salt;
  uint32_t reserved;
  uint32_t checksum;  // Of all before it.

  uint32_t expected_checksum() const {
    return crc32c(bytes_of(*this, offsetof(SegmentHeaderBytes, checksum)));
  }
};
static_assert(2 * sizeof(SegmentHeaderBytes) == kSegmentHeaderBytes);

struct RecordHeaderBytes {
  uint32_t tag;
  uint32_t length;
  uint32_t checksum;         // Of the record and its padding.
  uint32_t header_checksum;  // Of all before it, the offset and the segment's seed.

  uint32_t expected_header_checksum(uint32_t offset, LogSalt salt) const {
    const uint32_t crc =
        crc32c(bytes_of(*this, offsetof(RecordHeaderBytes, header_checksum)), salt.seed);
    return crc32c(bytes_of(offset), crc);
  }
};
static_assert(sizeof(RecordHeaderBytes) == kRecordHeaderBytes);

}  // namespace

LogSalt LogSalt::random() {
  std::random_device device;
  return {device() | 1, device()};
}

void write_segment_header(char* to, uint32_t number, LogSalt salt) {
  SegmentHeaderBytes header{};
  memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.number = number;
  header.salt = salt;
  header.checksum = header.expected_checksum();
  memcpy(to, &header, sizeof(header));
  memcpy(to + sizeof(header), &header, sizeof(header));
}

SegmentHeader read_segment_header(std::string_view bytes, uint32_t number) {
  SegmentHeader found;
  bool of_another = false;
  for (size_t copy = 0; copy < 2; ++copy) {
    SegmentHeaderBytes header{};
    const auto rest = bytes.substr(std::min(bytes.size(), copy * sizeof(header)));
    memcpy(&header, rest.data(), std::min(rest.size(), sizeof(header)));
    if (rest.size() < sizeof(header) || memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 ||
        header.checksum != header.expected_checksum()) {
      found.damaged = true;
    } else if (header.version != kVersion) {
      throw Permanent("it has version " + std::to_string(header.version) +
                      ", and this program reads version " + std::to_string(kVersion));
    } else if (header.number != number) {
      of_another = true;
    } else {
      found.salt = header.salt;
    }
  }
  // A file that was made, or used again, and that nothing was written to.
  const auto header = bytes.substr(0, kSegmentHeaderBytes);
  const bool empty = std::all_of(header.begin(), header.end(), [](char c) { return c == 0; });
  if (!found.salt && (empty || of_another)) found.damaged = false;
  return found;
}

void finish_record(char* to, uint32_t length, uint32_t offset, LogSalt salt) {
  char* const record = to + kRecordHeaderBytes;
  const size_t padded = record_bytes(length) - kRecordHeaderBytes;
  memset(record + length, 0, padded - length);
  RecordHeaderBytes header{salt.tag, length, crc32c({record, padded}), 0};
  header.header_checksum = header.expected_header_checksum(offset, salt);
  memcpy(to, &header, sizeof(header));
}

bool RecordHeader::matches(std::string_view bytes) const { return crc32c(bytes) == checksum; }

std::optional<RecordHeader> read_record_header(std::string_view bytes, uint32_t offset,
                                               LogSalt salt) {
  RecordHeaderBytes header{};
  if (bytes.size() < sizeof(header)) return std::nullopt;
  memcpy(&header, bytes.data(), sizeof(header));
  if (header.tag != salt.tag ||
      header.header_checksum != header.expected_header_checksum(offset, salt)) {
    return std::nullopt;
  }
  return RecordHeader{header.length, header.checksum};
}

std::optional<std::string_view> intact_record(std::string_view bytes, uint32_t offset,
                                              LogSalt salt) {
  const auto header = read_record_header(bytes, offset, salt);
  if (!header || record_bytes(header->length) > bytes.size()) return std::nullopt;
  const auto padded =
      bytes.substr(kRecordHeaderBytes, record_bytes(header->length) - kRecordHeaderBytes);
  if (!header->matches(padded)) return std::nullopt;
  return padded.substr(0, header->length);
}

}  // namespace postoffice::embedded
