#include "broker/sqlite_outbox.h"

#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/time.h"
#include "broker/outbox_file.h"

namespace postoffice {
namespace {

// How long an outbox that was found full counts as full without another try. Quotas do not show in
// statvfs, so time is the only sign of room that a server without callbacks has.
constexpr auto kFullFor = std::chrono::seconds(5);
// Of a row beside its body: the index, the totals and what is left empty on the last page.
constexpr uint64_t kRowBytes = 4096 + 64;
// Free space in the file worth giving back, and how much may be in use then, as appends wait for
// it.
constexpr uint64_t kFreeBytesKept = uint64_t{16} << 20;
constexpr uint64_t kUsedBytesToGiveBack = uint64_t{4} << 20;

// What an error says about the disk. A full disk is the only one that gets better by itself; with a
// failed fsync it is no excuse, because the kernel may have dropped what it could not write.
OutboxRefusal classify(const SqliteError& error) {
  const bool errno_is_full = error.system_errno() == ENOSPC || error.system_errno() == EDQUOT;
  if (error.code() == SQLITE_IOERR_WRITE && errno_is_full) return OutboxRefusal::kFull;
  if (error.code() == SQLITE_IOERR_NOMEM) return OutboxRefusal::kFull;
  switch (error.primary_code()) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_BUSY:
      return OutboxRefusal::kFull;
    default:
      return OutboxRefusal::kFailed;
  }
}

OutboxFile open_file(const SqliteOutbox::Options& options) {
  const std::string path = options.data_dir + "/outbox.db";
  const auto refuse = [&](const std::string& why) {
    return BadConfig({"DATA_DIR " + options.data_dir + ": outbox.db cannot be used: " + why +
                      "; give a folder that this user may write, or move outbox.db away"});
  };
  try {
    return OutboxFile(path, options.vfs);
  } catch (const Permanent& error) {
    throw refuse(error.what());
  } catch (const SqliteError& error) {
    throw refuse(error.what());
  }
}

}  // namespace

class SqliteOutbox::Database {
 public:
  explicit Database(Options options) : options_(std::move(options)), file_(open_file(options_)) {
    const std::lock_guard lock(mutex_);
    // What an earlier run left in the log, whose fsync may have failed then, is written afresh.
    checkpoint(true);
    if (failed_) {
      throw BadConfig(
          {"DATA_DIR " + options_.data_dir +
           ": the disk failed while outbox.db was opened: give a folder on a good disk"});
    }
    measure();
  }

  std::optional<OutboxRefusal> append(std::span<OutboxEntry> entries,
                                      std::span<const uint64_t> removals) {
    const std::lock_guard lock(mutex_);
    unremoved_.insert(removals.begin(), removals.end());
    std::optional<OutboxRefusal> refused;
    if (failed_) return OutboxRefusal::kFailed;
    if (!entries.empty()) refused = has_room(entries) ? write(entries) : OutboxRefusal::kFull;
    remove_unremoved();
    tidy();
    return refused;
  }

  std::vector<OutboxEntry> read(uint64_t after, size_t limit) {
    const std::lock_guard lock(mutex_);
    std::vector<OutboxEntry> entries;
    // Pages that hold nothing but removed entries are skipped, as an empty answer means the end.
    do {
      if (failed_) throw Transient("the outbox's disk failed");
      try {
        entries = file_.read(after, limit);
      } catch (const SqliteError& error) {
        refuse(error);
        throw Transient(std::string("the outbox cannot be read: ") + error.what());
      }
      if (entries.empty()) return entries;
      after = entries.back().id;
      std::erase_if(entries, [&](const auto& entry) { return unremoved_.contains(entry.id); });
    } while (entries.empty());
    return entries;
  }

  void remove(std::span<const uint64_t> ids) {
    const std::lock_guard lock(mutex_);
    unremoved_.insert(ids.begin(), ids.end());
    remove_unremoved();
    tidy();
    give_back();
  }

  OutboxDepth depth() const {
    const std::lock_guard lock(depth_mutex_);
    return depth_;
  }

  void fail() {
    const std::lock_guard lock(mutex_);
    file_.abandon();
    failed_ = true;
  }

  std::optional<OutboxRefusal> refusal() const {
    if (failed_) return OutboxRefusal::kFailed;
    if (SteadyClock::now() < full_until_.load()) return OutboxRefusal::kFull;
    if (depth().bytes + kRowBytes > options_.max_bytes) return OutboxRefusal::kFull;
    if (!disk_has(kRowBytes)) return OutboxRefusal::kFull;
    return std::nullopt;
  }

 private:
  // REQUIRES: mutex_, for all below that do not lock it.

  // One transaction: `entries` in, all of unremoved_ out; fsynced unless it only removes.
  std::optional<OutboxRefusal> write(std::span<OutboxEntry> entries) {
    const std::vector<uint64_t> removals(unremoved_.begin(), unremoved_.end());
    try {
      file_.write(entries, removals, !entries.empty());
    } catch (const SqliteError& error) {
      return refuse(error);
    }
    unremoved_.clear();
    full_until_ = SteadyClock::time_point::min();
    if (!entries.empty()) full_logged_ = false;
    measure();
    return std::nullopt;
  }

  void remove_unremoved() {
    if (failed_ || unremoved_.empty() || write({}) != OutboxRefusal::kFull) return;
    checkpoint(false);  // Makes room in the log, if all that it holds has a place in the database.
    if (!failed_) write({});
  }

  bool has_room(std::span<const OutboxEntry> entries) {
    uint64_t bytes = 0;
    for (const auto& entry : entries) bytes += entry.body.size() + kRowBytes;
    const bool within_limit = file_used_bytes_ + bytes <= options_.max_bytes;
    if (within_limit && disk_has(2 * bytes)) return true;  // In the log, and in the database.
    found_full(within_limit ? "the disk is full" : "OUTBOX_MAX_BYTES is reached");
    return false;
  }

  // Thread-safe.
  bool disk_has(uint64_t bytes) const {
    struct statvfs disk {};
    // A file system that cannot tell is found full by writing.
    if (statvfs(options_.data_dir.c_str(), &disk) != 0 || disk.f_blocks == 0) return true;
    return disk.f_bavail * uint64_t{disk.f_frsize} >= options_.min_free_bytes + bytes;
  }

  OutboxRefusal refuse(const SqliteError& error) {
    const OutboxRefusal refusal = classify(error);
    if (refusal == OutboxRefusal::kFull) {
      found_full(error.what());
    } else {
      file_.abandon();
      failed_ = true;
      spdlog::error(
          "outbox: the disk failed: {}; nothing is written there any more until serve is started "
          "anew",
          error.what());
    }
    return refusal;
  }

  void found_full(const std::string& why) {
    full_until_ = SteadyClock::now() + kFullFor;
    if (!std::exchange(full_logged_, true)) {
      spdlog::warn("outbox: full: {}; trying again with every callback", why);
    }
  }

  void measure() {
    try {
      file_used_bytes_ = file_.used_bytes();
      const auto oldest = file_.oldest_received_at();
      const std::lock_guard lock(depth_mutex_);
      depth_ = {file_.entries(), file_.callbacks(), file_used_bytes_, oldest};
    } catch (const SqliteError& error) {
      refuse(error);
    }
  }

  void tidy() {
    if (!failed_ && file_.checkpoint_due()) checkpoint(false);
  }

  void checkpoint(bool truncate) {
    try {
      file_.checkpoint(truncate);
    } catch (const SqliteError& error) {
      refuse(error);
    }
  }

  // Makes the file small again after draining.
  void give_back() {
    if (failed_ || file_used_bytes_ > kUsedBytesToGiveBack) return;
    try {
      if (file_.free_bytes() > kFreeBytesKept) file_.give_back();
    } catch (const SqliteError& error) {
      refuse(error);
    }
  }

  const Options options_;

  std::mutex mutex_;  // Held over fsync. Guards what follows, up to the next remark.
  OutboxFile file_;
  uint64_t file_used_bytes_ = 0;
  // Ids whose removal waits for the next transaction, because the disk was full.
  std::unordered_set<uint64_t> unremoved_;
  bool full_logged_ = false;

  // Any thread; written with mutex_ held.
  std::atomic<bool> failed_ = false;
  std::atomic<SteadyClock::time_point> full_until_ = SteadyClock::time_point::min();

  mutable std::mutex depth_mutex_;  // Never held over disk I/O. After mutex_.
  OutboxDepth depth_;
};

SqliteOutbox::SqliteOutbox(Options options)
    : database_(std::make_unique<Database>(std::move(options))) {}

SqliteOutbox::~SqliteOutbox() = default;

std::optional<OutboxRefusal> SqliteOutbox::append(std::span<OutboxEntry> entries,
                                                  std::span<const uint64_t> removals) {
  return database_->append(entries, removals);
}

std::vector<OutboxEntry> SqliteOutbox::read(uint64_t after, size_t limit) {
  return database_->read(after, limit);
}

void SqliteOutbox::remove(std::span<const uint64_t> ids) { database_->remove(ids); }

OutboxDepth SqliteOutbox::depth() const { return database_->depth(); }

std::optional<OutboxRefusal> SqliteOutbox::refusal() const { return database_->refusal(); }

void SqliteOutbox::fail() { database_->fail(); }

}  // namespace postoffice
