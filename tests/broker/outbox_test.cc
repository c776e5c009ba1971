#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/sqlite.h"
#include "broker/sqlite_outbox.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

OutboxEntry entry(std::string body, int64_t received_at = 1000, uint32_t callbacks = 1) {
  return {0, std::move(body), callbacks, from_unix_millis(received_at)};
}

std::vector<std::string> bodies(const std::vector<OutboxEntry>& entries) {
  std::vector<std::string> bodies;
  for (const auto& one : entries) bodies.push_back(one.body);
  return bodies;
}

class SqliteOutboxTest : public testing::Test {
 protected:
  SqliteOutboxTest() { reopen(); }

  void reopen() {
    outbox_.reset();
    outbox_ = std::make_unique<SqliteOutbox>(options());
  }
  SqliteOutbox::Options options() const {
    return {.data_dir = folder_.path(), .max_bytes = max_bytes_, .min_free_bytes = min_free_bytes_};
  }
  std::optional<OutboxRefusal> append(std::vector<OutboxEntry> entries,
                                      std::vector<uint64_t> removals = {}) {
    const auto refusal = outbox_->append(entries, removals);
    appended_ = entries;
    return refusal;
  }
  uintmax_t disk_bytes() const {
    uintmax_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder_.path())) {
      bytes += file.file_size();
    }
    return bytes;
  }

  const TempFolder folder_;
  uint64_t max_bytes_ = uint64_t{1} << 30;
  uint64_t min_free_bytes_ = 0;
  std::unique_ptr<SqliteOutbox> outbox_;
  std::vector<OutboxEntry> appended_;  // By the last append().
};

TEST_F(SqliteOutboxTest, ReadsInTheOrderOfAppend) {
  append({entry("a"), entry("b")});
  const uint64_t b = appended_.back().id;
  append({entry("c")});
  EXPECT_THAT(bodies(outbox_->read(0, 10)), ElementsAre("a", "b", "c"));
  EXPECT_THAT(bodies(outbox_->read(0, 2)), ElementsAre("a", "b"));
  EXPECT_THAT(bodies(outbox_->read(b, 10)), ElementsAre("c"));
  EXPECT_THAT(outbox_->read(appended_.back().id, 10), IsEmpty());
}

TEST_F(SqliteOutboxTest, KeepsBodiesByteForByte) {
  std::string body;
  for (int i = 0; i < 300'000; ++i) body += static_cast<char>(i * 7);
  append({entry(body, 1234, 77), entry("")});
  reopen();
  const auto read = outbox_->read(0, 10);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].body, body);
  EXPECT_EQ(read[0].callbacks, 77u);
  EXPECT_EQ(read[0].oldest_received_at, from_unix_millis(1234));
  EXPECT_EQ(read[1].body, "");
}

TEST_F(SqliteOutboxTest, RemovesAndAppendsInOneCall) {
  append({entry("a"), entry("b")});
  append({entry("c")}, {appended_[0].id, 4711});
  EXPECT_THAT(bodies(outbox_->read(0, 10)), ElementsAre("b", "c"));
  append({}, {appended_[0].id});
  EXPECT_THAT(bodies(outbox_->read(0, 10)), ElementsAre("b"));
}

TEST_F(SqliteOutboxTest, RemovingTwiceCountsOnce) {
  append({entry("a", 1, 3), entry("b", 2, 4)});
  const std::vector<uint64_t> ids = {appended_[0].id, appended_[0].id};
  outbox_->remove(ids);
  outbox_->remove(ids);
  EXPECT_EQ(outbox_->depth().entries, 1u);
  EXPECT_EQ(outbox_->depth().callbacks, 4u);
}

TEST_F(SqliteOutboxTest, KnowsItsDepthAlsoAfterReopening) {
  EXPECT_EQ(outbox_->depth().oldest_received_at, std::nullopt);
  append({entry("a", 3000, 2), entry("b", 1000, 3), entry("c", 2000, 4)});
  for (int i = 0; i < 2; ++i) {
    const OutboxDepth depth = outbox_->depth();
    EXPECT_EQ(depth.entries, 3u);
    EXPECT_EQ(depth.callbacks, 9u);
    EXPECT_GT(depth.bytes, 0u);
    EXPECT_EQ(depth.oldest_received_at, from_unix_millis(1000));
    reopen();
  }
  const std::vector<uint64_t> ids = {appended_[1].id};
  outbox_->remove(ids);
  EXPECT_EQ(outbox_->depth().oldest_received_at, from_unix_millis(2000));
  reopen();
  EXPECT_EQ(outbox_->depth().entries, 2u);
  EXPECT_EQ(outbox_->depth().callbacks, 6u);
}

TEST_F(SqliteOutboxTest, NeverGivesAnIdTwiceWhileOpen) {
  append({entry("a")});
  const uint64_t first = appended_[0].id;
  outbox_->remove(std::vector{first});
  append({entry("b")});
  EXPECT_GT(appended_[0].id, first);
}

TEST_F(SqliteOutboxTest, RefusesAsFullAtItsLimitUntilThereIsRoom) {
  max_bytes_ = 1 << 20;
  reopen();
  std::vector<uint64_t> ids;
  while (!append({entry(std::string(50'000, 'x'))})) {
    ids.push_back(appended_[0].id);
    ASSERT_LT(ids.size(), 100u);
  }
  EXPECT_EQ(append({entry(std::string(50'000, 'x'))}), OutboxRefusal::kFull);
  EXPECT_LE(outbox_->depth().bytes, max_bytes_);
  EXPECT_GT(outbox_->depth().bytes, max_bytes_ / 2);
  EXPECT_EQ(outbox_->read(0, 1000).size(), ids.size());

  outbox_->remove(ids);
  EXPECT_EQ(outbox_->refusal(), std::nullopt);
  EXPECT_EQ(append({entry("x")}), std::nullopt);
}

TEST_F(SqliteOutboxTest, IsUnreadyAtItsLimit) {
  max_bytes_ = 200'000;
  reopen();
  while (!append({entry(std::string(20'000, 'x')), entry("x")})) {
  }
  EXPECT_EQ(outbox_->refusal(), OutboxRefusal::kFull);
}

TEST_F(SqliteOutboxTest, RemovesAlsoWhenItRefusesToAppend) {
  append({entry("a"), entry("b")});
  const uint64_t a = appended_[0].id;
  max_bytes_ = 1;
  reopen();
  EXPECT_EQ(append({entry("c")}, {a}), OutboxRefusal::kFull);
  EXPECT_THAT(bodies(outbox_->read(0, 10)), ElementsAre("b"));
}

TEST_F(SqliteOutboxTest, RefusesWhenTheDiskHasTooLittleLeft) {
  min_free_bytes_ = uint64_t{1} << 60;
  reopen();
  EXPECT_EQ(outbox_->refusal(), OutboxRefusal::kFull);
  EXPECT_EQ(append({entry("a")}), OutboxRefusal::kFull);
  EXPECT_THAT(outbox_->read(0, 10), IsEmpty());
}

TEST_F(SqliteOutboxTest, GivesDiskSpaceBackAfterDraining) {
  std::vector<uint64_t> ids;
  for (int i = 0; i < 40; ++i) {
    append(std::vector<OutboxEntry>(16, entry(std::string(64 * 1024, 'x'))));
    for (const auto& one : appended_) ids.push_back(one.id);
  }
  ASSERT_GT(disk_bytes(), 40u << 20);
  // In order, as the drainer does.
  for (size_t i = 0; i < ids.size(); i += 16) {
    outbox_->remove(std::span(ids).subspan(i, std::min<size_t>(16, ids.size() - i)));
  }
  EXPECT_EQ(outbox_->depth().entries, 0u);
  EXPECT_LT(disk_bytes(), 10u << 20);
}

TEST_F(SqliteOutboxTest, GivesDiskSpaceBackWhileSomeIsLeft) {
  std::vector<uint64_t> ids;
  for (int i = 0; i < 20; ++i) {
    append(std::vector<OutboxEntry>(16, entry(std::string(64 * 1024, 'x'))));
    for (const auto& one : appended_) ids.push_back(one.id);
  }
  ids.erase(ids.end() - 16, ids.end());
  for (size_t i = 0; i < ids.size(); i += 4) {
    outbox_->remove(std::span(ids).subspan(i, std::min<size_t>(4, ids.size() - i)));
  }
  EXPECT_EQ(outbox_->depth().entries, 16u);
  EXPECT_LT(disk_bytes(), 10u << 20);
  EXPECT_EQ(outbox_->read(0, 100).size(), 16u);
}

TEST_F(SqliteOutboxTest, TheLogDoesNotGrowWithoutEnd) {
  for (int i = 0; i < 60; ++i) {
    append(std::vector<OutboxEntry>(16, entry(std::string(64 * 1024, 'x'))));
    std::vector<uint64_t> ids;
    for (const auto& one : appended_) ids.push_back(one.id);
    outbox_->remove(ids);
  }
  EXPECT_LT(std::filesystem::file_size(folder_.path() + "/outbox.db-wal"), 40u << 20);
}

TEST_F(SqliteOutboxTest, RefusesAnotherDatabaseInItsPlace) {
  outbox_.reset();
  std::filesystem::remove(folder_.path() + "/outbox.db");
  {
    SqliteDatabase other(folder_.path() + "/outbox.db", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    other.exec("CREATE TABLE t (x)");
  }
  try {
    reopen();
    FAIL() << "opened";
  } catch (const BadConfig& error) {
    EXPECT_THAT(error.what(), HasSubstr("DATA_DIR " + folder_.path()));
    EXPECT_THAT(error.what(), HasSubstr("no outbox"));
  }
}

TEST_F(SqliteOutboxTest, RefusesAFileThatIsNoDatabase) {
  outbox_.reset();
  std::ofstream(folder_.path() + "/outbox.db") << std::string(10'000, 'x');
  EXPECT_THROW(reopen(), BadConfig);
}

TEST_F(SqliteOutboxTest, RefusesAFolderThatIsNotThere) {
  EXPECT_THROW(SqliteOutbox{{.data_dir = folder_.path() + "/missing"}}, BadConfig);
}

TEST_F(SqliteOutboxTest, RefusesAFileThatIsOpenElsewhere) {
  EXPECT_THROW(SqliteOutbox{options()}, BadConfig);
}

}  // namespace
}  // namespace postoffice
