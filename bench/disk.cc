#include "bench/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>

#include "base/file_descriptor.h"

namespace postoffice::bench {
namespace {

using Clock = std::chrono::steady_clock;

class SyncedFile {
 public:
  explicit SyncedFile(const std::filesystem::path& folder)
      : path_(folder / "sync_times"),
        file_(open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600)) {}
  ~SyncedFile() { std::filesystem::remove(path_); }
  SyncedFile(const SyncedFile&) = delete;
  SyncedFile& operator=(const SyncedFile&) = delete;

  // What it took, in microseconds.
  double append() {
    const auto from = Clock::now();
    if (write(file_.get(), bytes_.data(), bytes_.size()) < 0 || fdatasync(file_.get()) != 0) {
      throw std::system_error(errno, std::generic_category(), path_.string());
    }
    return std::chrono::duration<double, std::micro>(Clock::now() - from).count();
  }

 private:
  const std::filesystem::path path_;
  const FileDescriptor file_;
  const std::string bytes_ = std::string(4096, 'x');
};

}  // namespace

std::vector<double> sync_times(const std::filesystem::path& folder, int count) {
  SyncedFile file(folder);
  std::vector<double> times;
  for (int i = 0; i < count; ++i) times.push_back(file.append());
  return times;
}

std::vector<double> sync_times_during(const std::filesystem::path& folder,
                                      std::chrono::milliseconds time,
                                      std::chrono::milliseconds every) {
  SyncedFile file(folder);
  std::vector<double> times;
  const auto end = Clock::now() + time;
  for (auto due = Clock::now(); due < end; due = std::max(due + every, Clock::now())) {
    std::this_thread::sleep_until(due);
    times.push_back(file.append());
  }
  return times;
}

uint64_t disk_bytes(const std::filesystem::path& folder) {
  uint64_t bytes = 0;
  std::error_code error;  // Files go while this looks.
  for (auto it = std::filesystem::recursive_directory_iterator(folder, error);
       it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    struct stat status {};
    if (stat(it->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      bytes += static_cast<uint64_t>(status.st_blocks) * 512;
    }
  }
  return bytes;
}

}  // namespace postoffice::bench
