#include "broker/embedded/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>

#include "base/error.h"
#include "broker/embedded/log_crc.h"
#include "tests/embedded/log_fixture.h"

namespace postoffice::embedded {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

TEST(LogCrc, IsCrc32c) {
  // RFC 3720, appendix B.4, and the check value of the catalogue of parametrised CRCs.
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(LogCrc, IsTheSameWithoutTheInstructionAndInParts) {
  std::mt19937 random(1);
  std::string bytes;
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(crc32c(bytes), crc32c_portable(bytes)) << i;
    const std::string_view all = bytes;
    const size_t middle = random() % (bytes.size() + 1);
    EXPECT_EQ(crc32c(all.substr(middle), crc32c(all.substr(0, middle))), crc32c(bytes));
    EXPECT_EQ(crc32c_portable(all.substr(middle), crc32c_portable(all.substr(0, middle))),
              crc32c(bytes));
    bytes += static_cast<char>(random());
  }
}

class LogTest : public LogFixture {};

TEST_F(LogTest, KeepsRecordsInOrder) {
  auto log = start();
  EXPECT_EQ(log->appended(), 0u);
  EXPECT_EQ(log->oldest_segment(), 1u);
  EXPECT_EQ(log->current_segment(), 1u);
  const auto first = log->append({"one ", "", "record"});
  const auto second = log->append({});
  const auto third = log->append({"three"});
  EXPECT_EQ(log->appended(), 3u);
  EXPECT_GT(log->unwritten_bytes(), 0u);
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(3));
  EXPECT_EQ(log->unwritten_bytes(), 0u);
  log = nullptr;

  log = open();
  EXPECT_THAT(recover_all(*log),
              ElementsAre(Pair(first, "one record"), Pair(second, ""), Pair(third, "three")));
  EXPECT_EQ(log->appended(), 0u);
  EXPECT_EQ(log->current_segment(), 2u);
  EXPECT_EQ(log->read(third), "three");
  log->start();
  log->append({"four"});
  log->stop();
  log->stop();
  EXPECT_EQ(log->unwritten_bytes(), 0u);
  EXPECT_THAT(records_in(path()), ElementsAre("one record", "", "three", "four"));
  EXPECT_THAT(reports_.states(), IsEmpty());
}

TEST_F(LogTest, StopWritesWhatWasNotFlushed) {
  auto log = start();
  log->append({"a"});
  log->stop();
  EXPECT_EQ(reports_.durable(), 1u);
  EXPECT_THAT(records_in(path()), ElementsAre("a"));
}

TEST_F(LogTest, StoppingWhatNeverStartedIsFine) {
  auto log = open();
  log->stop();
  log = nullptr;
  EXPECT_THAT(files_in(path()), IsEmpty());
}

TEST_F(LogTest, EmptyLogsLeaveNothingBehind) {
  for (int i = 0; i < 3; ++i) start();
  EXPECT_THAT(files_in(path()), IsEmpty());
}

TEST_F(LogTest, TakesRecordsOfAllSizes) {
  const uint32_t segment_bytes = 4096;
  std::vector<std::pair<LogPosition, std::string>> written;
  auto log = start(segment_bytes);
  std::mt19937 random(2);
  const auto append = [&](size_t bytes) {
    std::string record(bytes, '\0');
    for (char& c : record) c = static_cast<char>(random());
    const auto position = log->append({record.substr(0, bytes / 3), record.substr(bytes / 3)});
    written.emplace_back(position, std::move(record));
  };
  for (size_t bytes = 0; bytes < 40; ++bytes) append(bytes);
  for (const size_t bytes : {3996, 3997, 4000, 4016, 4017, 4080, 4095, 4096, 4097, 9000, 262'143,
                             262'144, 262'145, 1'000'000, 0, 1, 5'000'000, 0}) {
    append(static_cast<size_t>(bytes));
    if (bytes % 2 == 0) log->flush();
  }
  for (const auto& [position, record] : written) ASSERT_EQ(log->read(position), record);
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(written.size()));
  log->flush();  // Frees the memory.
  for (const auto& [position, record] : written) ASSERT_EQ(log->read(position), record);
  EXPECT_GT(log->current_segment(), 10u);
  log = nullptr;
  log = open(segment_bytes);
  EXPECT_EQ(recover_all(*log), written);
  for (const auto& [position, record] : written) ASSERT_EQ(log->read(position), record);
}

TEST_F(LogTest, SegmentsAreNotBiggerThanAsked) {
  auto log = start(1024);
  for (int i = 0; i < 100; ++i) log->append({std::string(100, 'x')});
  log->append({std::string(5000, 'y')});
  log->append({std::string(100, 'x')});
  log->stop();
  size_t big = 0;
  uint64_t bytes = 0;
  for (const auto& name : files_in(path())) {
    const auto size = std::filesystem::file_size(path() + "/" + name);
    bytes += size;
    if (size > 1024) ++big;
  }
  EXPECT_EQ(big, 1u);
  EXPECT_EQ(log->bytes(), bytes);
  EXPECT_EQ(records_in(path()).size(), 102u);
}

TEST_F(LogTest, RefusesWhatIsTooBig) {
  auto log = open();
  const std::string part(64 << 20, 'x');  // 17 of them are more than 1 GiB.
  EXPECT_THROW(log->append({part, part, part, part, part, part, part, part, part, part, part, part,
                            part, part, part, part, part}),
               Permanent);
  EXPECT_EQ(log->appended(), 0u);
}

TEST_F(LogTest, ReadsWhatIsNotYetWritten) {
  std::mutex gate;
  std::unique_lock closed(gate);
  auto log = start(1 << 20, {.pwritev = [&](int fd, const iovec* parts, int count, off_t offset) {
                     const std::lock_guard wait(gate);
                     return pwritev(fd, parts, count, offset);
                   }});
  std::map<LogPosition, std::string> records;
  for (int i = 0; i < 3000; ++i) {
    const std::string record = std::to_string(i) + std::string(1000, 'x');
    records[log->append({record})] = record;
    if (i % 100 == 0) log->flush();
  }
  EXPECT_EQ(log->current_segment(), 3u);
  EXPECT_EQ(reports_.durable(), 0u);
  EXPECT_GT(log->unwritten_bytes(), 3'000'000u);
  for (const auto& [position, record] : records) ASSERT_EQ(log->read(position), record);
  closed.unlock();
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(3000));
  log->flush();
  for (const auto& [position, record] : records) ASSERT_EQ(log->read(position), record);
}

TEST_F(LogTest, CommitsWhatComesDuringAWriteTogether) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t syncs = 0;
  bool open = false;
  auto log = start(1 << 20, {.fdatasync = [&](int fd) {
                     std::unique_lock lock(mutex);
                     ++syncs;
                     changed.notify_all();
                     changed.wait(lock, [&] { return open; });
                     return fdatasync(fd);
                   }});
  log->append({"first"});
  log->flush();
  {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return syncs == 1; }));
  }
  for (int i = 0; i < 500; ++i) {
    log->append({"more"});
    log->flush();
  }
  {
    const std::lock_guard lock(mutex);
    open = true;
  }
  changed.notify_all();
  ASSERT_TRUE(reports_.wait_durable(501));
  EXPECT_EQ(syncs, 2u);
}

TEST_F(LogTest, ReadsWhatIsWrittenAllTheTime) {
  auto log = start(1 << 20);
  std::mt19937 random(3);
  std::vector<std::pair<LogPosition, std::string>> written;
  for (int i = 0; i < 20'000; ++i) {
    const std::string record = std::to_string(i) + std::string(random() % 300, 'x');
    written.emplace_back(log->append({record}), record);
    if (i % 7 == 0) log->flush();
    if (i % 3 == 0) {
      const size_t back = std::min<size_t>(written.size(), 1 + random() % 5000);
      const auto& [position, expected] = written[written.size() - back];
      ASSERT_EQ(log->read(position), expected);
    }
  }
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(written.size()));
}

TEST_F(LogTest, SaysWhatIsCorruptWhenItIsRead) {
  auto log = start();
  const auto a = log->append({std::string(100, 'a')});
  const auto b = log->append({std::string(100, 'b')});
  const auto c = log->append({std::string(300'000, 'c')});  // More than is read at a time.
  log->stop();
  auto bytes = read_bytes(file(1));
  bytes[b.offset + 50] ^= 1;
  bytes[c.offset + 299'000] ^= 1;
  write_bytes(file(1), bytes);

  log = open();
  EXPECT_EQ(log->read(a), std::string(100, 'a'));
  for (const auto& position : {b, c}) {
    try {
      log->read(position);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const LogCorrupt& error) {
      EXPECT_EQ(error.file(), file(1));
      EXPECT_EQ(error.offset(), position.offset);
      EXPECT_THAT(error.what(), HasSubstr("0000000001.log: at "));
    }
  }
  EXPECT_THROW(log->read({1, a.offset + 8}), LogCorrupt);
  EXPECT_THROW(log->read({1, 10'000'000}), LogCorrupt);
  EXPECT_THROW(log->read({7, a.offset}), LogCorrupt);
  std::filesystem::remove(file(1));
  EXPECT_THROW(log->read(a), LogCorrupt);
}

TEST_F(LogTest, DropsSegmentsForGood) {
  const uint32_t segment_bytes = 64 << 10;
  auto log = start(segment_bytes);
  LogPosition last;
  for (int i = 0; i < 1000; ++i) last = log->append({std::to_string(i), std::string(1000, 'x')});
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(1000));
  ASSERT_GT(last.segment, 10u);
  EXPECT_EQ(log->oldest_segment(), 1u);
  const uint64_t before = log->bytes();

  log->drop_before(last.segment - 2);
  EXPECT_EQ(log->oldest_segment(), last.segment - 2);
  EXPECT_LT(log->bytes(), before / 3);
  EXPECT_THROW(log->read({1, 64}), LogCorrupt);
  EXPECT_EQ(log->read(last).substr(0, 3), "999");
  log->drop_before(1);
  log->stop();
  EXPECT_EQ(files_in(path()).size(), 3 + 1u) << "three, and one to be used again";

  log = open(segment_bytes);
  EXPECT_EQ(log->oldest_segment(), last.segment - 2);
  EXPECT_EQ(recover_all(*log).back().first, last);
  log->drop_before(last.segment + 100);  // All there are.
  EXPECT_EQ(log->bytes(), 0u);
  log->start();
  log->stop();
  EXPECT_EQ(files_in(path()).size(), 1u);
  EXPECT_THAT(records_in(path()), IsEmpty());
}

TEST_F(LogTest, DroppedSegmentsAreUsedAgainAndNeverComeBack) {
  const uint32_t segment_bytes = 64 << 10;
  auto log = start(segment_bytes);
  std::set<ino_t> inodes;
  size_t segments = 0;
  uint32_t seen = 0;
  uint64_t expected = 0;
  std::vector<std::string> alive;
  for (int round = 0; round < 60; ++round) {
    if (log->current_segment() > 2) log->drop_before(log->current_segment());
    for (int i = 0; i < 20; ++i) {
      log->append({"round " + std::to_string(round) + " ", std::string(2000, 'x')});
      ++expected;
    }
    log->flush();
    ASSERT_TRUE(reports_.wait_durable(expected));
    if (log->current_segment() != seen) {
      seen = log->current_segment();
      struct stat status {};
      ASSERT_EQ(stat(file(seen).c_str(), &status), 0);
      inodes.insert(status.st_ino);
      ++segments;
    }
    // As after a SIGKILL now: the rest of a file that was used before is not cut.
    const TempFolder copy;
    std::filesystem::copy(path(), copy.path() + "/log");
    LogLines lines;
    size_t now = 0;
    for (const auto& record : records_in(copy.path() + "/log")) {
      const int of = std::stoi(record.substr(6));
      EXPECT_GE(of, round - 4) << "a record of a dropped segment is back";
      if (of == round) ++now;
    }
    EXPECT_EQ(now, 20u);
    EXPECT_EQ(lines.take(), "");
  }
  EXPECT_GT(segments, 10u);
  EXPECT_LT(inodes.size(), segments / 2);
}

TEST_F(LogTest, RefusesANewerVersion) {
  auto log = start();
  log->append({"a"});
  log->stop();
  auto bytes = read_bytes(file(1));
  for (const size_t copy : {0, 32}) {
    bytes[copy + 8] = 2;
    const uint32_t crc = crc32c(std::string_view(bytes).substr(copy, 28));
    memcpy(&bytes[copy + 28], &crc, 4);
  }
  write_bytes(file(1), bytes);
  try {
    open();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Permanent& error) {
    EXPECT_THAT(error.what(), HasSubstr("it has version 2, and this program reads version 1"));
    EXPECT_THAT(error.what(), HasSubstr("0000000001.log"));
  }
}

TEST_F(LogTest, RefusesAFolderThatIsNone) {
  write_bytes(path(), "");
  EXPECT_THROW(open(), Permanent);
  EXPECT_THROW(Log({.folder = "/proc/no/log"}, {}), Permanent);
}

TEST_F(LogTest, LeavesOtherFilesAlone) {
  std::filesystem::create_directory(path());
  for (const char* name : {"1.log", "000000000a.log", "0000000001.txt", "99999999999.log",
                           "9999999999.log", "0000000000.log"}) {
    write_bytes(path() + "/" + name, "mine");
  }
  auto log = start();
  log->append({"a"});
  log->stop();
  EXPECT_EQ(files_in(path()).size(), 7u);
  EXPECT_THAT(records_in(path()), ElementsAre("a"));
}

}  // namespace
}  // namespace postoffice::embedded
