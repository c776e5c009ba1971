#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <string>

namespace postoffice {

// An SQLite VFS on top of the system's that fails when the test says so and keeps count of what is
// asked of the disk. Registered as long as it lives.
class FailingVfs {
 public:
  FailingVfs() : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    name_ = "failing-" + std::to_string(reinterpret_cast<uintptr_t>(this));
    vfs_.zName = name_.c_str();
    vfs_.pNext = nullptr;
    vfs_.pAppData = this;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = open;
    // As the real one after a COMMIT: it knows nothing any more.
    vfs_.xGetLastError = [](sqlite3_vfs*, int, char*) { return 0; };
    sqlite3_vfs_register(&vfs_, 0);
  }
  ~FailingVfs() { sqlite3_vfs_unregister(&vfs_); }
  FailingVfs(const FailingVfs&) = delete;
  FailingVfs& operator=(const FailingVfs&) = delete;

  const std::string& name() const { return name_; }

  // 0: works. ENOSPC is what SQLite's own VFS tells as SQLITE_FULL. Files whose name ends in
  // `suffix` only.
  void fail_writes(int with_errno, std::string suffix = "") {
    const std::lock_guard lock(mutex_);
    write_errno_ = with_errno;
    suffix_ = std::move(suffix);
  }
  void fail_syncs(int with_errno, std::string suffix = "") {
    const std::lock_guard lock(mutex_);
    sync_errno_ = with_errno;
    suffix_ = std::move(suffix);
  }
  void fail_reads(int with_errno) {
    const std::lock_guard lock(mutex_);
    read_errno_ = with_errno;
  }

  size_t writes() const { return writes_; }  // And truncations.
  size_t syncs() const { return syncs_; }
  // Whether a file with that ending was written since it was last fsynced.
  bool unsynced(const std::string& suffix) const {
    const std::lock_guard lock(mutex_);
    for (const auto& name : unsynced_) {
      if (name.ends_with(suffix)) return true;
    }
    return false;
  }

 private:
  struct File {
    sqlite3_file base;
    FailingVfs* vfs;
    const char* name;
    int last_errno;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
    static File* of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }
  };

  static FailingVfs* of(sqlite3_vfs* vfs) { return static_cast<FailingVfs*>(vfs->pAppData); }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags,
                  int* out_flags) {
    auto* self = File::of(file);
    self->vfs = of(vfs);
    self->name = name != nullptr ? name : "";
    self->last_errno = 0;
    self->base.pMethods = nullptr;
    const int code =
        self->vfs->real_->xOpen(self->vfs->real_, name, self->real(), flags, out_flags);
    if (code == SQLITE_OK) self->base.pMethods = &kMethods;
    return code;
  }

  // 0, or the errno to fail with.
  int failure(int wanted, File& file) {
    if (wanted == 0 || !std::string(file.name).ends_with(suffix_)) return 0;
    file.last_errno = wanted;
    return wanted;
  }

  static int read(sqlite3_file* file, void* into, int bytes, sqlite3_int64 offset) {
    auto* self = File::of(file);
    {
      const std::lock_guard lock(self->vfs->mutex_);
      if (self->vfs->failure(self->vfs->read_errno_, *self) != 0) return SQLITE_IOERR_READ;
    }
    return self->real()->pMethods->xRead(self->real(), into, bytes, offset);
  }
  static int write(sqlite3_file* file, const void* from, int bytes, sqlite3_int64 offset) {
    auto* self = File::of(file);
    {
      const std::lock_guard lock(self->vfs->mutex_);
      ++self->vfs->writes_;
      self->vfs->unsynced_.insert(self->name);
      const int failure = self->vfs->failure(self->vfs->write_errno_, *self);
      if (failure == ENOSPC) return SQLITE_FULL;
      if (failure != 0) return SQLITE_IOERR_WRITE;
    }
    return self->real()->pMethods->xWrite(self->real(), from, bytes, offset);
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    auto* self = File::of(file);
    ++self->vfs->writes_;
    return self->real()->pMethods->xTruncate(self->real(), size);
  }
  static int sync(sqlite3_file* file, int flags) {
    auto* self = File::of(file);
    {
      const std::lock_guard lock(self->vfs->mutex_);
      ++self->vfs->syncs_;
      // As the kernel does: what could not be written is forgotten, the next fsync succeeds.
      self->vfs->unsynced_.erase(self->name);
      if (self->vfs->failure(self->vfs->sync_errno_, *self) != 0) return SQLITE_IOERR_FSYNC;
    }
    return self->real()->pMethods->xSync(self->real(), flags);
  }

  static int file_control(sqlite3_file* file, int opcode, void* argument) {
    auto* self = File::of(file);
    if (opcode == SQLITE_FCNTL_LAST_ERRNO) {
      *static_cast<int*>(argument) = self->last_errno;
      return SQLITE_OK;
    }
    return self->real()->pMethods->xFileControl(self->real(), opcode, argument);
  }

  static inline const sqlite3_io_methods kMethods = {
      .iVersion = 1,  // No shared memory, no memory mapping.
      .xClose =
          [](sqlite3_file* f) {
            return File::of(f)->real()->pMethods->xClose(File::of(f)->real());
          },
      .xRead = read,
      .xWrite = write,
      .xTruncate = truncate,
      .xSync = sync,
      .xFileSize =
          [](sqlite3_file* f, sqlite3_int64* size) {
            return File::of(f)->real()->pMethods->xFileSize(File::of(f)->real(), size);
          },
      .xLock =
          [](sqlite3_file* f, int level) {
            return File::of(f)->real()->pMethods->xLock(File::of(f)->real(), level);
          },
      .xUnlock =
          [](sqlite3_file* f, int level) {
            return File::of(f)->real()->pMethods->xUnlock(File::of(f)->real(), level);
          },
      .xCheckReservedLock =
          [](sqlite3_file* f, int* out) {
            return File::of(f)->real()->pMethods->xCheckReservedLock(File::of(f)->real(), out);
          },
      .xFileControl = file_control,
      .xSectorSize =
          [](sqlite3_file* f) {
            return File::of(f)->real()->pMethods->xSectorSize(File::of(f)->real());
          },
      .xDeviceCharacteristics =
          [](sqlite3_file* f) {
            return File::of(f)->real()->pMethods->xDeviceCharacteristics(File::of(f)->real());
          },
      .xShmMap = nullptr,
      .xShmLock = nullptr,
      .xShmBarrier = nullptr,
      .xShmUnmap = nullptr,
      .xFetch = nullptr,
      .xUnfetch = nullptr,
  };

  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  std::string name_;
  std::atomic<size_t> writes_ = 0;
  std::atomic<size_t> syncs_ = 0;

  mutable std::mutex mutex_;
  int read_errno_ = 0;
  int write_errno_ = 0;
  int sync_errno_ = 0;
  std::string suffix_;
  std::set<std::string> unsynced_;
};

}  // namespace postoffice
