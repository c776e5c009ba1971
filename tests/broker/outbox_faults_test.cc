#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "base/error.h"
#include "broker/sqlite_outbox.h"
#include "tests/broker/failing_vfs.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<OutboxEntry> entries(const std::vector<std::string>& bodies) {
  std::vector<OutboxEntry> entries;
  for (const auto& body : bodies) entries.push_back({0, body, 1, from_unix_millis(1000)});
  return entries;
}

std::vector<std::string> bodies(Outbox& outbox) {
  std::vector<std::string> bodies;
  for (const auto& entry : outbox.read(0, 100'000)) bodies.push_back(entry.body);
  return bodies;
}

class SqliteOutboxFaults : public testing::Test {
 protected:
  SqliteOutboxFaults() { reopen(vfs_.name()); }

  void reopen(const std::string& vfs) {
    outbox_.reset();
    outbox_ = std::make_unique<SqliteOutbox>(
        SqliteOutbox::Options{.data_dir = folder_.path(), .min_free_bytes = 0, .vfs = vfs});
  }
  std::optional<OutboxRefusal> append(const std::vector<std::string>& bodies) {
    auto all = entries(bodies);
    const auto refusal = outbox_->append(all, {});
    last_id_ = all.back().id;
    return refusal;
  }
  // Nothing is asked of the disk, now and when it is closed; what was committed is there
  // afterwards.
  void expect_failed_for_good(const std::vector<std::string>& committed) {
    vfs_.fail_syncs(0);
    vfs_.fail_writes(0);
    const size_t writes = vfs_.writes();
    const size_t syncs = vfs_.syncs();
    EXPECT_EQ(outbox_->refusal(), OutboxRefusal::kFailed);
    EXPECT_EQ(append({"later"}), OutboxRefusal::kFailed);
    EXPECT_THROW(outbox_->read(0, 10), Transient);
    const std::vector<uint64_t> ids = {1};
    outbox_->remove(ids);
    outbox_.reset();
    EXPECT_EQ(vfs_.writes(), writes);
    EXPECT_EQ(vfs_.syncs(), syncs);
    reopen("");
    const auto found = bodies(*outbox_);
    // What was refused may be there all the same.
    ASSERT_GE(found.size(), committed.size());
    EXPECT_TRUE(std::equal(committed.begin(), committed.end(), found.begin()));
    EXPECT_EQ(append({"after the restart"}), std::nullopt);
  }

  FailingVfs vfs_;
  const TempFolder folder_;
  std::unique_ptr<SqliteOutbox> outbox_;
  uint64_t last_id_ = 0;
};

TEST_F(SqliteOutboxFaults, AnAppendIsSyncedWhenItReturns) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(append({std::string(1000, 'x')}), std::nullopt);
    ASSERT_FALSE(vfs_.unsynced("-wal"));
    if (i % 3 == 0) outbox_->remove(std::vector{last_id_});
  }
}

TEST_F(SqliteOutboxFaults, ARemovalIsNotSynced) {
  append({"a", "b"});
  const size_t syncs = vfs_.syncs();
  outbox_->remove(std::vector{last_id_});
  EXPECT_EQ(vfs_.syncs(), syncs);
  EXPECT_THAT(bodies(*outbox_), ElementsAre("a"));
}

TEST_F(SqliteOutboxFaults, AFailedSyncIsNeverRetried) {
  append({"a"});
  vfs_.fail_syncs(EIO);
  EXPECT_EQ(append({"b"}), OutboxRefusal::kFailed);
  expect_failed_for_good({"a"});
}

TEST_F(SqliteOutboxFaults, ASyncThatFailsForLackOfSpaceIsNotRetriedEither) {
  append({"a"});
  vfs_.fail_syncs(ENOSPC);
  EXPECT_EQ(append({"b"}), OutboxRefusal::kFailed);
  expect_failed_for_good({"a"});
}

TEST_F(SqliteOutboxFaults, AFailedWriteStopsItForGood) {
  append({"a"});
  vfs_.fail_writes(EIO);
  EXPECT_EQ(append({"b"}), OutboxRefusal::kFailed);
  expect_failed_for_good({"a"});
}

TEST_F(SqliteOutboxFaults, AFailedSyncInACheckpointStopsItForGood) {
  vfs_.fail_syncs(EIO, "outbox.db");
  std::vector<std::string> committed;
  std::optional<OutboxRefusal> refusal;
  while (!refusal) {  // Until the first checkpoint.
    ASSERT_LT(committed.size(), 1000u);
    refusal = append({std::string(1 << 20, 'x')});
    if (!refusal) committed.emplace_back(1 << 20, 'x');
  }
  EXPECT_EQ(refusal, OutboxRefusal::kFailed);
  expect_failed_for_good(committed);
}

TEST_F(SqliteOutboxFaults, AFailedReadStopsItForGood) {
  append({std::string(10 << 20, 'x')});  // More than SQLite keeps in memory.
  reopen(vfs_.name());
  vfs_.fail_reads(EIO);
  EXPECT_THROW(outbox_->read(0, 1), Transient);
  vfs_.fail_reads(0);
  expect_failed_for_good({std::string(10 << 20, 'x')});
}

class SqliteOutboxFullDisk : public SqliteOutboxFaults, public testing::WithParamInterface<int> {};

TEST_P(SqliteOutboxFullDisk, RefusesUntilThereIsRoom) {
  append({"a"});
  const uint64_t a = last_id_;
  vfs_.fail_writes(GetParam());
  EXPECT_EQ(append({"b"}), OutboxRefusal::kFull);
  EXPECT_EQ(outbox_->refusal(), OutboxRefusal::kFull);
  EXPECT_EQ(append({"c"}), OutboxRefusal::kFull);
  EXPECT_THAT(bodies(*outbox_), ElementsAre("a"));
  outbox_->remove(std::vector{a});
  EXPECT_THAT(bodies(*outbox_), IsEmpty()) << "a removed entry would be forwarded again";

  vfs_.fail_writes(0);
  EXPECT_EQ(append({"d"}), std::nullopt);
  EXPECT_EQ(outbox_->refusal(), std::nullopt);
  EXPECT_THAT(bodies(*outbox_), ElementsAre("d"));
  reopen("");
  EXPECT_THAT(bodies(*outbox_), ElementsAre("d"));
  EXPECT_EQ(outbox_->depth().entries, 1u);
}

TEST_P(SqliteOutboxFullDisk, RemovesLaterWhatItCouldNotRemove) {
  append({"a", "b"});
  vfs_.fail_writes(GetParam());
  outbox_->remove(std::vector{last_id_});
  EXPECT_EQ(outbox_->depth().entries, 2u);
  vfs_.fail_writes(0);
  outbox_->remove({});
  EXPECT_EQ(outbox_->depth().entries, 1u);
}

TEST_P(SqliteOutboxFullDisk, GoesOnWhenOnlyTheDatabaseCannotGrow) {
  const std::vector<std::string> megabyte(16, std::string(64 * 1024, 'x'));
  vfs_.fail_writes(GetParam(), "outbox.db");
  for (int i = 0; i < 40; ++i) ASSERT_EQ(append(megabyte), std::nullopt);
  EXPECT_EQ(outbox_->depth().entries, 640u);
  vfs_.fail_writes(0);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(append(megabyte), std::nullopt);
  reopen("");
  EXPECT_EQ(outbox_->read(0, 10'000).size(), 960u);
}

INSTANTIATE_TEST_SUITE_P(, SqliteOutboxFullDisk, testing::Values(ENOSPC, EDQUOT),
                         [](const auto& info) { return info.param == ENOSPC ? "Space" : "Quota"; });

// A small file system of its own, as only root can have one.
class SmallDisk {
 public:
  explicit SmallDisk(const char* size) {
    mounted_ = mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, size) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(folder_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const std::string& path() const { return folder_.path(); }

 private:
  const TempFolder folder_;
  bool mounted_ = false;
};

class SqliteOutboxSmallDisk : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can mount";
  }
  void make_disk(const char* size) {
    disk_ = std::make_unique<SmallDisk>(size);
    ASSERT_TRUE(disk_->mounted()) << strerror(errno);
  }
  std::unique_ptr<SqliteOutbox> open(uint64_t min_free_bytes) const {
    return std::make_unique<SqliteOutbox>(
        SqliteOutbox::Options{.data_dir = disk_->path(), .min_free_bytes = min_free_bytes});
  }
  // Returns how many were taken.
  static size_t fill(Outbox& outbox, size_t body_bytes) {
    for (size_t taken = 0;; ++taken) {
      auto one = entries({std::string(body_bytes, 'x')});
      const auto refusal = outbox.append(one, {});
      if (!refusal) continue;
      EXPECT_EQ(refusal, OutboxRefusal::kFull);
      return taken;
    }
  }

  std::unique_ptr<SmallDisk> disk_;
};

TEST_F(SqliteOutboxSmallDisk, KeepsWhatItTookAndTakesMoreWhenThereIsRoomAgain) {
  make_disk("size=8m");
  const std::string ballast = disk_->path() + "/ballast";
  FILE* file = fopen(ballast.c_str(), "w");
  ASSERT_NE(file, nullptr);
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 4; ++i) ASSERT_EQ(fwrite(megabyte.data(), megabyte.size(), 1, file), 1u);
  fclose(file);

  auto outbox = open(0);
  const size_t taken = fill(*outbox, 20'000) + fill(*outbox, 3000);
  ASSERT_GT(taken, 50u);
  EXPECT_EQ(outbox->refusal(), OutboxRefusal::kFull);
  EXPECT_EQ(bodies(*outbox).size(), taken);
  outbox = nullptr;
  outbox = open(0);  // Also on a full disk.
  EXPECT_EQ(bodies(*outbox).size(), taken);

  std::filesystem::remove(ballast);
  auto one = entries({"now"});
  EXPECT_EQ(outbox->append(one, {}), std::nullopt);
  EXPECT_EQ(outbox->refusal(), std::nullopt);
  EXPECT_EQ(bodies(*outbox).size(), taken + 1);
}

TEST_F(SqliteOutboxSmallDisk, KeepsRoomToDrainADiskOfItsOwn) {
  make_disk("size=64m");
  auto outbox = open(24 << 20);
  for (int round = 0; round < 3; ++round) {
    const size_t taken = fill(*outbox, 150'000);
    ASSERT_GT(taken, 100u);
    size_t drained = 0;
    for (auto read = outbox->read(0, 16); !read.empty(); read = outbox->read(0, 16)) {
      std::vector<uint64_t> ids;
      for (const auto& entry : read) ids.push_back(entry.id);
      outbox->remove(ids);
      drained += ids.size();
    }
    EXPECT_EQ(drained, taken);
    EXPECT_EQ(outbox->depth().entries, 0u);
  }
}

}  // namespace
}  // namespace postoffice
