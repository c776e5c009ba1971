#include "broker/embedded/log_folder.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <optional>
#include <system_error>

#include "base/error.h"

namespace postoffice::embedded {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

// None: it is not the name of a segment.
std::optional<uint32_t> number_of(const std::filesystem::path& file) {
  const std::string digits = file.stem().string();
  if (file.extension() != ".log" || digits.size() != 10) return std::nullopt;
  uint64_t number = 0;
  for (const char digit : digits) {
    if (std::isdigit(static_cast<unsigned char>(digit)) == 0) return std::nullopt;
    number = 10 * number + static_cast<uint64_t>(digit - '0');
  }
  if (number == 0 || number > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(number);
}

}  // namespace

SyncFailed::SyncFailed(const std::string& what, int error)
    : std::runtime_error("sync " + what + ": " + std::generic_category().message(error)) {}

LogFolder::LogFolder(std::filesystem::path folder, uint32_t segment_bytes)
    : path_(std::move(folder)), segment_bytes_(segment_bytes), spare_(path_ / "spare.log") {
  try {
    std::filesystem::create_directories(path_);
    if (access(path_.c_str(), R_OK | W_OK | X_OK) != 0) fail(path_.string());
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      if (const auto number = number_of(entry.path())) segments_.insert(*number);
      if (entry.path() == spare_) has_spare_ = true;
    }
  } catch (const std::system_error& error) {
    throw Permanent(std::string("the log's folder cannot be used: ") + error.what());
  }
}

std::filesystem::path LogFolder::path(const std::filesystem::path& folder, uint32_t segment) {
  return folder / fmt::format("{:010}.log", segment);
}

FileDescriptor LogFolder::create(uint32_t segment, uint64_t bytes) {
  const auto file = path(segment);
  if (has_spare_) {
    if (rename(spare_.c_str(), file.c_str()) != 0 && errno != ENOENT)
      fail("rename " + file.string());
    has_spare_ = false;
  }
  FileDescriptor fd(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (fd.get() < 0) fail("create " + file.string());
  segments_.insert(segment);
  // Only saves work: where there is no room it is the write that tells.
  static_cast<void>(fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)));
  return fd;
}

void LogFolder::truncate(uint32_t segment, uint64_t bytes) {
  const auto file = path(segment);
  const FileDescriptor fd(open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.get() < 0 || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    fail("truncate " + file.string());
  }
  if (fdatasync(fd.get()) != 0) throw SyncFailed(file.string(), errno);
}

void LogFolder::drop(uint32_t segment) {
  const auto file = path(segment);
  std::error_code gone;
  const uint64_t bytes = std::filesystem::file_size(file, gone);
  if (!has_spare_ && !gone && bytes <= segment_bytes_ && bytes >= segment_bytes_ / 2) {
    if (rename(file.c_str(), spare_.c_str()) != 0) fail("rename " + file.string());
    has_spare_ = true;
  } else if (unlink(file.c_str()) != 0 && errno != ENOENT) {
    fail("unlink " + file.string());
  }
  sync();
  segments_.erase(segment);
}

void LogFolder::sync() const {
  const FileDescriptor fd(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) fail("open " + path_.string());
  if (fsync(fd.get()) != 0) throw SyncFailed(path_.string(), errno);
}

}  // namespace postoffice::embedded
