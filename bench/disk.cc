#include "bench/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>

#include "base/file_descriptor.h"

namespace postoffice::bench {

std::vector<double> sync_times(const std::filesystem::path& folder, int count,
                               std::chrono::microseconds every) {
  const auto path = folder / "sync_times";
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600));
  const std::string bytes(4096, 'x');
  std::vector<double> times;
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) {
    std::this_thread::sleep_until(began + i * every);
    const auto from = std::chrono::steady_clock::now();
    if (write(file.get(), bytes.data(), bytes.size()) < 0 || fdatasync(file.get()) != 0) {
      throw std::system_error(errno, std::generic_category(), path.string());
    }
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - from).count());
  }
  std::filesystem::remove(path);
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
