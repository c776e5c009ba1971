#pragma once

#include <string>

namespace postoffice {

// Unless it is there. Throws BadConfig naming DATA_DIR when it cannot.
void create_data_dir(const std::string& data_dir);

// Owns a DATA_DIR as long as it lives (flock on <data_dir>/lock, which holds the owner's process id
// for people to read). The kernel gives it up when the process dies, however it dies.
class DataDirLock {
 public:
  // Creates the folder. Throws BadConfig naming DATA_DIR when another process owns it or it cannot
  // be created or written.
  explicit DataDirLock(const std::string& data_dir);
  ~DataDirLock();
  DataDirLock(const DataDirLock&) = delete;
  DataDirLock& operator=(const DataDirLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace postoffice
