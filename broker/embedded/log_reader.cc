#include "broker/embedded/log_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "broker/embedded/log_folder.h"

namespace postoffice::embedded {
namespace {

constexpr size_t kWindows = 16;
constexpr uint64_t kWindowBytes = 256 << 10;
constexpr size_t kMaxFiles = 64;
// A disk that fails to read may be better in a moment: a path that changes, a device that resets.
constexpr Millis kGivesUpAfter{30'000};
constexpr size_t kMostFailing = 1024;  // Beyond, their time begins again.

struct DiskFailed : Transient {
  using Transient::Transient;
};

// Keeps errno.
FileDescriptor open_reserve() {
  const int error = errno;
  FileDescriptor reserve(open("/dev/null", O_RDONLY | O_CLOEXEC));
  errno = error;
  return reserve;
}

}  // namespace

LogReader::LogReader(std::filesystem::path folder)
    : folder_(std::move(folder)), reserve_(open_reserve()) {}

std::string LogReader::read(LogPosition position, uint64_t end, LogSalt salt) {
  try {
    auto record = read_record(position, end, salt);
    if (!failing_.empty()) failing_.erase(position);
    return record;
  } catch (const DiskFailed& error) {
    const auto now = SteadyClock::now();
    if (failing_.size() >= kMostFailing) failing_.clear();
    if (now - failing_.try_emplace(position, now).first->second < kGivesUpAfter) throw;
    throw LogCorrupt(LogFolder::path(folder_, position.segment), position.offset, error.what());
  }
}

std::string LogReader::read_record(LogPosition position, uint64_t end, LogSalt salt) {
  const auto corrupt = [&](const char* why) {
    forget_before(UINT32_MAX);  // The next try asks the disk.
    return LogCorrupt(LogFolder::path(folder_, position.segment), position.offset, why);
  };
  if (position.offset + kRecordHeaderBytes > end) throw corrupt("no record is there");
  char head[kRecordHeaderBytes];
  copy(position, end, head, sizeof(head));
  const auto header = read_record_header({head, sizeof(head)}, position.offset, salt);
  if (!header || position.offset + record_bytes(header->length) > end) {
    throw corrupt("the record's header is damaged");
  }
  std::string record(record_bytes(header->length) - kRecordHeaderBytes, '\0');
  copy({position.segment, position.offset + kRecordHeaderBytes}, end, record.data(), record.size());
  if (!header->matches(record)) throw corrupt("the record is damaged");
  record.resize(header->length);
  return record;
}

void LogReader::forget_before(uint32_t segment) {
  std::erase_if(failing_, [&](const auto& each) { return each.first.segment < segment; });
  files_.erase(files_.begin(), files_.lower_bound(segment));
  for (auto& window : windows_) {
    if (window.segment < segment) window.bytes = 0;
  }
}

void LogReader::copy(LogPosition from, uint64_t end, char* to, size_t bytes) {
  if (bytes > kWindowBytes) return read_file(from.segment, from.offset, to, bytes);
  for (uint64_t offset = from.offset; bytes > 0;) {
    const uint64_t begin = offset / kWindowBytes * kWindowBytes;
    const size_t part = std::min<uint64_t>(bytes, begin + kWindowBytes - offset);
    try {
      const Window& from_window = window(from.segment, begin, offset + part, end);
      memcpy(to, from_window.data.get() + (offset - begin), part);
    } catch (const DiskFailed&) {  // What is around it cannot be read; perhaps it can.
      read_file(from.segment, offset, to, part);
    }
    offset += part;
    to += part;
    bytes -= part;
  }
}

const LogReader::Window& LogReader::window(uint32_t segment, uint64_t offset, uint64_t wanted_end,
                                           uint64_t end) {
  auto found = std::find_if(windows_.begin(), windows_.end(), [&](const Window& window) {
    return window.bytes > 0 && window.segment == segment && window.offset == offset;
  });
  if (found == windows_.end()) {
    if (windows_.size() < kWindows) {
      found = windows_.insert(windows_.end(), Window{});
      found->data = std::make_unique_for_overwrite<char[]>(kWindowBytes);
    } else {
      found = std::min_element(windows_.begin(), windows_.end(), [](const auto& a, const auto& b) {
        return a.last_used < b.last_used;
      });
    }
    found->bytes = 0;
  }
  found->last_used = ++uses_;
  if (offset + found->bytes <
      wanted_end) {  // Of the segment that is written it may hold too little.
    found->bytes = 0;
    const size_t bytes = std::min(kWindowBytes, end - offset);
    read_file(segment, offset, found->data.get(), bytes);
    found->segment = segment;
    found->offset = offset;
    found->bytes = bytes;
  }
  return *found;
}

void LogReader::read_file(uint32_t segment, uint64_t offset, char* to, size_t bytes) {
  const int fd = file(segment);
  while (bytes > 0) {
    const ssize_t got = pread(fd, to, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    const auto path = LogFolder::path(folder_, segment);
    if (got < 0 && errno == EIO) throw DiskFailed("read " + path.string() + ": the disk failed");
    if (got < 0) {
      throw Transient("read " + path.string() + ": " + std::generic_category().message(errno));
    }
    if (got == 0) throw LogCorrupt(path, offset, "the file ends");
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
}

int LogReader::file(uint32_t segment) {
  const auto found = files_.find(segment);
  if (found != files_.end()) return found->second.get();
  if (files_.size() >= kMaxFiles) files_.clear();
  const auto path = LogFolder::path(folder_, segment);
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0 && (errno == EMFILE || errno == ENFILE)) {
    // A message that cannot be read is lost: there is a file for it.
    files_.clear();
    reserve_.close();
    fd = FileDescriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
  if (reserve_.get() < 0) reserve_ = open_reserve();
  if (fd.get() < 0) {
    const auto why = std::generic_category().message(errno);
    if (errno == ENOENT) throw LogCorrupt(path, 0, why);
    throw Transient("open " + path.string() + ": " + why);
  }
  return files_.emplace(segment, std::move(fd)).first->second.get();
}

}  // namespace postoffice::embedded
