#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/embedded/log_fixture.h"

namespace postoffice::embedded {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LogRecoveryTest : public LogFixture {
 protected:
  // Ends without stop(), as after SIGKILL: the last segment keeps what was laid out for it.
  void write_small_log(bool ended = true) {
    auto log = start(4096);
    for (size_t i = 0; i < 12; ++i) {
      const std::string record = std::to_string(i) + std::string(7 * i, static_cast<char>('a' + i));
      positions_.push_back(log->append({record}));
      records_.push_back(record);
      if (i % 4 == 3) {
        log->flush();
        ASSERT_TRUE(reports_.wait_durable(i + 1));
      }
    }
    if (!ended) bytes_ = read_bytes(file(1));
    log = nullptr;
    if (ended) bytes_ = read_bytes(file(1));
  }
  // Of that many records, with the padding that belongs to the last.
  size_t end_of(size_t records) const {
    if (records == 0) return 64;
    return (positions_[records - 1].offset + 16 + records_[records - 1].size() + 7) / 8 * 8;
  }
  // What is recovered of `bytes`.
  std::vector<std::string> records_of(std::string_view bytes) {
    const MemoryFolder folder;
    write_bytes(folder.path() + "/0000000001.log", bytes);
    return records_in(folder.path());
  }

  std::vector<LogPosition> positions_;
  std::vector<std::string> records_;
  std::string bytes_;
};

TEST_F(LogRecoveryTest, EveryTruncationLeavesAPrefix) {
  for (const bool ended : {true, false}) {
    std::filesystem::remove_all(path());
    positions_.clear();
    records_.clear();
    reports_.forget();
    write_small_log(ended);
    LogLines lines;
    for (size_t size = 0; size <= bytes_.size(); size += size < end_of(12) + 20 ? 1 : 50) {
      std::vector<std::string> expected;
      for (size_t i = 0; i < records_.size(); ++i) {
        if (end_of(i + 1) <= size) expected.push_back(records_[i]);
      }
      ASSERT_EQ(records_of(std::string_view(bytes_).substr(0, size)), expected) << size;
    }
  }
}

TEST_F(LogRecoveryTest, WhatIsCutIsCutForGood) {
  write_small_log();
  LogLines lines;
  for (size_t size = 64; size < bytes_.size(); size += 11) {
    const MemoryFolder folder;
    const std::string first = folder.path() + "/0000000001.log";
    write_bytes(first, std::string_view(bytes_).substr(0, size));
    const auto before = records_in(folder.path());
    const bool whole = size == end_of(before.size());
    EXPECT_EQ(lines.take().find("cut, what follows was not complete") == std::string::npos, whole)
        << size;

    Log log({.folder = folder.path()}, {});
    log.start();
    log.append({"after"});
    log.stop();
    EXPECT_EQ(lines.take(), "") << "what was cut is not found again";
    auto expected = before;
    expected.emplace_back("after");
    EXPECT_EQ(records_in(folder.path()), expected);
  }
}

TEST_F(LogRecoveryTest, EveryFlippedByteLosesAtMostItsRecordAndIsReported) {
  write_small_log();
  LogLines lines;
  EXPECT_EQ(records_of(bytes_), records_);
  ASSERT_EQ(lines.take(), "");
  for (size_t at = 0; at < bytes_.size(); ++at) {
    for (const int mask : {0x01, 0x80, 0xff}) {
      auto bytes = bytes_;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      auto expected = records_;
      size_t offset = 0;
      for (size_t i = records_.size(); at >= 64 && i-- > 0;) {
        if (positions_[i].offset > at) continue;
        expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(i));
        offset = positions_[i].offset;
        break;
      }
      ASSERT_EQ(records_of(bytes), expected) << "at " << at;
      const auto text = lines.take();
      ASSERT_THAT(text, HasSubstr("0000000001.log: at " + std::to_string(offset) + ": "))
          << "at " << at;
    }
  }
}

TEST_F(LogRecoveryTest, DamageInAnOlderSegmentLosesNothingElse) {
  auto log = start(1024);
  std::vector<LogPosition> positions;
  std::vector<std::string> expected;
  for (int i = 0; i < 40; ++i) {
    const std::string record = std::to_string(i) + std::string(100, 'x');
    positions.push_back(log->append({record}));
    if (i != 5 && i != 6) expected.push_back(record);
  }
  log->stop();
  ASSERT_EQ(positions[5].segment, 1u);
  ASSERT_EQ(positions[7].segment, 1u);
  auto bytes = read_bytes(file(1));
  // The header of one, all of the next: a zeroed range.
  memset(&bytes[positions[5].offset + 3], 0, positions[7].offset - positions[5].offset - 3);
  write_bytes(file(1), bytes);
  {
    LogLines lines;
    EXPECT_EQ(records_in(path()), expected);
    const auto text = lines.take();
    EXPECT_THAT(text, HasSubstr("0000000001.log: at " + std::to_string(positions[5].offset) +
                                ": 240 damaged bytes are skipped"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  }

  // The end of an older segment is missing no more silently.
  bytes = read_bytes(file(2));
  write_bytes(file(2), std::string_view(bytes).substr(0, bytes.size() - 1));
  // Both headers of a segment.
  bytes = read_bytes(file(3));
  memset(bytes.data(), 0, 64);
  write_bytes(file(3), bytes);
  std::erase_if(expected, [&](const std::string& record) {
    const auto i = static_cast<size_t>(std::stoi(record));
    return positions[i].segment == 3 ||
           (positions[i].segment == 2 && positions[i + 1].segment == 3);
  });
  LogLines lines;
  EXPECT_EQ(records_in(path()), expected);
  const auto text = lines.take();
  EXPECT_THAT(text, HasSubstr("0000000002.log: at "));
  EXPECT_THAT(text, HasSubstr("0000000003.log: at 0: the segment's header is damaged: the segment "
                              "cannot be read"));
  auto reopened = open();
  EXPECT_THROW(reopened->read({3, 64}), LogCorrupt);
}

TEST_F(LogRecoveryTest, RecordsThatLookLikeALogAreNotTakenForOne) {
  write_small_log();
  const auto log_bytes = bytes_;
  auto log = start();
  const auto position = log->append({log_bytes});  // The very bytes of another segment.
  const auto last = log->append({"last"});
  log->stop();
  auto bytes = read_bytes(file(2));
  ASSERT_EQ(position.segment, 2u);
  bytes[position.offset] ^= 1;  // Now all that it holds is searched.
  write_bytes(file(2), bytes);
  auto expected = records_;
  expected.emplace_back("last");
  LogLines lines;
  EXPECT_EQ(records_in(path()), expected);
  EXPECT_THAT(lines.take(), HasSubstr("0000000002.log: at 64: " + std::to_string(last.offset - 64) +
                                      " damaged bytes"));
}

TEST_F(LogRecoveryTest, ASegmentThatNothingWasWrittenToIsNoDamage) {
  write_small_log();
  LogLines lines;
  // A new file; one used again, with what it was before.
  for (const auto& bytes : {std::string(), std::string(4096, '\0'), bytes_}) {
    write_bytes(file(2), bytes);
    EXPECT_EQ(records_in(path()), records_);
    EXPECT_FALSE(std::filesystem::exists(file(2)));
  }
  EXPECT_EQ(lines.take(), "");
}

TEST_F(LogRecoveryTest, ALogThatWasNotStoppedEndsWithoutAWarning) {
  write_small_log(false);
  ASSERT_GE(bytes_.size(), 4096u) << "laid out";
  LogLines lines;
  EXPECT_EQ(records_of(bytes_), records_);
  EXPECT_EQ(lines.take(), "");
}

}  // namespace
}  // namespace postoffice::embedded
