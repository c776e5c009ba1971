#include "broker/embedded/log_recovery.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace postoffice::embedded {

LogRecovery::End LogRecovery::read(const std::filesystem::path& file, uint32_t segment,
                                   LogSalt salt) {
  const std::string_view bytes = load(file);
  uint64_t end = kSegmentHeaderBytes;
  for (uint64_t at = end; at + kRecordHeaderBytes <= bytes.size();) {
    const auto offset = static_cast<uint32_t>(at);
    const auto record = intact_record(bytes.substr(at), offset, salt);
    if (!record) {
      at += kRecordAlignment;
      continue;
    }
    if (at != end) {
      spdlog::warn("log: {}: at {}: {} damaged bytes are skipped", file.string(), end, at - end);
    }
    recovered_({segment, offset}, *record);
    at += record_bytes(record->size());
    end = at;
  }
  const auto rest = bytes.substr(std::min<uint64_t>(end, bytes.size()));
  const auto next = rest.substr(0, kRecordHeaderBytes);
  return {.offset = static_cast<uint32_t>(end),
          .rest = rest.size(),
          .written = std::any_of(next.begin(), next.end(), [](char c) { return c != 0; })};
}

std::string_view LogRecovery::load(const std::filesystem::path& file) {
  const auto fail = [&file] {
    throw Transient("read " + file.string() + ": " + std::generic_category().message(errno));
  };
  const FileDescriptor fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (fd.get() < 0 || fstat(fd.get(), &status) != 0) fail();
  // Offsets have 32 bits.
  const auto size = static_cast<size_t>(std::min<off_t>(status.st_size, UINT32_MAX));
  if (size > capacity_) {
    buffer_ = std::make_unique_for_overwrite<char[]>(size);
    capacity_ = size;
  }
  size_t read = 0;
  while (read < size) {
    const ssize_t got =
        pread(fd.get(), buffer_.get() + read, size - read, static_cast<off_t>(read));
    if (got < 0 && errno != EINTR) fail();
    if (got == 0) break;
    if (got > 0) read += static_cast<size_t>(got);
  }
  return {buffer_.get(), read};
}

}  // namespace postoffice::embedded
