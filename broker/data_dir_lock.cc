#include "broker/data_dir_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace postoffice {
namespace {

[[noreturn]] void refuse(const std::string& data_dir, const std::string& why) {
  throw BadConfig({"DATA_DIR " + data_dir + " " + why});
}

// " (process 123)", or nothing when the owner has not written it yet.
std::string owner_of(int fd) {
  std::array<char, 16> text{};
  const auto got = pread(fd, text.data(), text.size(), 0);
  std::string digits;
  for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; ++i) digits += text[i];
  return digits.empty() ? "" : " (process " + digits + ")";
}

// So that a folder just made is still there after a power failure.
void sync_folder(const std::filesystem::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace

void create_data_dir(const std::string& data_dir) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(data_dir, error);
  if (std::filesystem::create_directories(folder, error)) sync_folder(folder.parent_path());
  if (error) refuse(data_dir, "cannot be created: " + error.message());
}

DataDirLock::DataDirLock(const std::string& data_dir) {
  create_data_dir(data_dir);
  fd_ =
      open((std::filesystem::path(data_dir) / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) {
    refuse(data_dir, std::string("cannot be written: ") + std::generic_category().message(errno) +
                         "; it must be a folder that this user may write");
  }
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int lock_errno = errno;
    const std::string owner = owner_of(fd_);
    close(fd_);
    if (lock_errno == EWOULDBLOCK) {
      refuse(data_dir,
             "is owned by another serve" + owner + "; every serve needs a folder of its own");
    }
    refuse(data_dir,
           std::string("cannot be locked: ") + std::generic_category().message(lock_errno));
  }
  const std::string process_id = std::to_string(getpid()) + "\n";
  // For people only, so a full disk is no reason to fail.
  [[maybe_unused]] const bool told =
      ftruncate(fd_, 0) == 0 && pwrite(fd_, process_id.data(), process_id.size(), 0) > 0;
}

DataDirLock::~DataDirLock() { close(fd_); }

}  // namespace postoffice
