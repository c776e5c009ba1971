#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include "tests/embedded/log_fixture.h"

namespace postoffice::embedded {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using State = Log::State;

// Fails as the test says; 0: it works.
struct FailingDisk {
  std::atomic<int> write_errno = 0;
  std::atomic<int> sync_errno = 0;
  std::atomic<size_t> short_write_bytes = 0;  // 0: all.
  std::atomic<int> writes = 0;
  std::atomic<int> syncs = 0;

  LogDisk disk() {
    return {.pwritev = [this](int fd, const iovec* parts, int count, off_t offset) -> ssize_t {
              ++writes;
              const size_t most = short_write_bytes;
              if (most > 0) {
                return pwrite(fd, parts->iov_base, std::min(most, parts->iov_len), offset);
              }
              if (write_errno == 0) return pwritev(fd, parts, count, offset);
              errno = write_errno;
              return -1;
            },
            .fdatasync =
                [this](int fd) {
                  ++syncs;
                  // As the kernel does: the next one would succeed.
                  if (const int error = sync_errno.exchange(0); error != 0) {
                    errno = error;
                    return -1;
                  }
                  return fdatasync(fd);
                }};
  }
};

class LogFaults : public LogFixture {
 protected:
  std::unique_ptr<Log> start_failing() { return start(1 << 20, disk_.disk()); }
  // What is appended and handed over is not reported durable.
  void expect_failed_for_good(Log& log) {
    EXPECT_EQ(reports_.durable(), 1u);
    const int writes = disk_.writes;
    const int syncs = disk_.syncs;
    disk_.write_errno = 0;
    const auto later = log.append({"later"});
    log.flush();
    EXPECT_EQ(log.read(later), "later");
    EXPECT_GT(log.unwritten_bytes(), 0u);
    log.stop();
    EXPECT_EQ(disk_.writes, writes);
    EXPECT_EQ(disk_.syncs, syncs);
    EXPECT_EQ(reports_.durable(), 1u);
    EXPECT_EQ(reports_.states().size(), 1u);
  }

  FailingDisk disk_;
};

TEST_F(LogFaults, GoesOnAfterShortWrites) {
  auto log = start_failing();
  disk_.short_write_bytes = 7;
  log->append({std::string(1000, 'a')});
  log->append({std::string(300'000, 'b')});
  log->append({"c"});
  log->stop();
  EXPECT_THAT(records_in(path()),
              ElementsAre(std::string(1000, 'a'), std::string(300'000, 'b'), "c"));
}

TEST_F(LogFaults, AFailedSyncIsNeverRetried) {
  for (const int error : {EIO, ENOSPC}) {
    std::filesystem::remove_all(path());
    reports_.forget();
    auto log = start_failing();
    log->append({"a"});
    log->flush();
    ASSERT_TRUE(reports_.wait_durable(1));
    disk_.sync_errno = error;
    log->append({"b"});
    log->flush();
    ASSERT_TRUE(reports_.wait_state(State::kFailed));
    EXPECT_THAT(reports_.states()[0].second, HasSubstr(strerror(error)));
    EXPECT_THAT(reports_.states()[0].second, HasSubstr("0000000001.log"));
    expect_failed_for_good(*log);
    log = nullptr;
    LogLines lines;
    EXPECT_EQ(records_in(path()).at(0), "a");
  }
}

TEST_F(LogFaults, AFailedWriteStopsItForGood) {
  auto log = start_failing();
  log->append({"a"});
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(1));
  disk_.write_errno = EIO;
  log->append({"b"});
  log->flush();
  ASSERT_TRUE(reports_.wait_state(State::kFailed));
  expect_failed_for_good(*log);
  log = nullptr;
  EXPECT_THAT(records_in(path()), ElementsAre("a"));
}

class LogLackOfRoom : public LogFaults, public testing::WithParamInterface<int> {};

TEST_P(LogLackOfRoom, IsWaitedFor) {
  auto log = start_failing();
  log->append({"a"});
  log->flush();
  ASSERT_TRUE(reports_.wait_durable(1));
  disk_.write_errno = GetParam();
  const auto b = log->append({"b"});
  log->flush();
  ASSERT_TRUE(reports_.wait_state(State::kFull));
  const int writes = disk_.writes;
  log->append({"c"});
  log->flush();
  EXPECT_EQ(log->read(b), "b");
  EXPECT_LE(disk_.writes, writes + 1) << "not tried again at once";
  EXPECT_EQ(reports_.durable(), 1u);
  disk_.write_errno = 0;
  ASSERT_TRUE(reports_.wait_durable(3));
  EXPECT_THAT(reports_.states(), ElementsAre(Pair(State::kFull, HasSubstr(strerror(GetParam()))),
                                             Pair(State::kWritable, "")));
  log = nullptr;
  EXPECT_THAT(records_in(path()), ElementsAre("a", "b", "c"));
}

TEST_P(LogLackOfRoom, DoesNotKeepItFromStopping) {
  auto log = start_failing();
  disk_.write_errno = GetParam();
  log->append({"a"});
  log->flush();
  ASSERT_TRUE(reports_.wait_state(State::kFull));
  log->append({"b"});
  log->stop();
  EXPECT_EQ(reports_.durable(), 0u);
  log = nullptr;
  EXPECT_THAT(records_in(path()), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(, LogLackOfRoom, testing::Values(ENOSPC, EDQUOT, EFBIG),
                         [](const auto& info) {
                           return info.param == ENOSPC   ? "Space"
                                  : info.param == EDQUOT ? "Quota"
                                                         : "FileSize";
                         });

TEST_F(LogFaults, StopTriesOnceMoreWhereThereWasNoRoom) {
  auto log = start_failing();
  disk_.write_errno = ENOSPC;
  log->append({"a"});
  log->flush();
  ASSERT_TRUE(reports_.wait_state(State::kFull));
  disk_.write_errno = 0;
  log->stop();
  EXPECT_EQ(reports_.durable(), 1u);
  EXPECT_THAT(records_in(path()), ElementsAre("a"));
}

// A limit on the size of files fails writes with EFBIG and a signal, which must not end the
// process.
TEST_F(LogFaults, AFileSizeLimitIsLackOfRoom) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto log = start(64 << 10);
  rlimit small = before;
  small.rlim_cur = 100'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  log->append({std::string(150'000, 'x')});
  log->flush();
  const bool full = reports_.wait_state(State::kFull);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_TRUE(full);
  ASSERT_TRUE(reports_.wait_durable(1));
  ASSERT_TRUE(reports_.wait_state(State::kWritable));
}

// A file system of its own, as only root can have one.
class LogSmallDisk : public LogFixture {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can mount";
    std::filesystem::create_directory(path());
    ASSERT_EQ(mount("tmpfs", path().c_str(), "tmpfs", 0, "size=8m"), 0) << strerror(errno);
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) umount2(path().c_str(), MNT_DETACH);
  }

 private:
  bool mounted_ = false;
};

TEST_F(LogSmallDisk, WritesToTheLastByteAndGoesOnWhenSegmentsAreDropped) {
  auto log = start(1 << 20);
  std::vector<std::string> all;
  uint64_t sequence = 0;
  for (int round = 0; round < 3; ++round) {
    const auto states = reports_.states().size();
    while (reports_.states().size() == states) {
      all.push_back(std::to_string(all.size()) + std::string(10'000, 'x'));
      log->append({all.back()});
      log->flush();
      ASSERT_LT(++sequence, 10'000u);
      if (log->unwritten_bytes() > 100'000) reports_.wait_durable_or_state(sequence - 5, states);
    }
    ASSERT_EQ(reports_.states().back().first, State::kFull);
    EXPECT_GT(log->bytes(), 7u << 20);
    log->drop_before(log->oldest_segment() + 4);
    ASSERT_TRUE(reports_.wait_durable(sequence));
    ASSERT_TRUE(reports_.wait_state(State::kWritable));
  }
  const auto left = log->bytes();
  log = nullptr;
  const auto found = records_in(path());
  EXPECT_GT(found.size() * 10'000, left * 9 / 10);
  ASSERT_LT(found.size(), all.size());
  EXPECT_TRUE(std::equal(found.rbegin(), found.rend(), all.rbegin()));
}

class LogKilled : public LogFixture {};

// One process writes records that hold their number and tells which are durable; it is killed.
// What it told is there, and of what is there nothing is missing between.
TEST_F(LogKilled, WhatWasReportedDurableIsThereAfterSigkill) {
  std::mt19937 random(std::random_device{}());
  const MemoryFolder folder;
  uint64_t first = 0;
  uint32_t dropped_before = 0;
  uint64_t killed_while_writing = 0;
  for (int round = 0; round < 50; ++round) {
    int told[2];
    ASSERT_EQ(pipe2(told, O_CLOEXEC), 0);
    const auto seed = random();
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // Sequence numbers count from the opening: the number of the record is what was there, more.
      Log log({.folder = folder.path(), .segment_bytes = 128 << 10},
              {.durable =
                   [fd = told[1]](uint64_t sequence) {
                     if (write(fd, &sequence, sizeof(sequence)) < 0) _exit(2);
                   },
               .state = {}});
      uint64_t number = first;
      log.recover([&](LogPosition, std::string_view record) {
        memcpy(&number, record.data(), sizeof(number));
      });
      log.start();
      std::mt19937 sizes(static_cast<unsigned>(seed));
      while (true) {
        ++number;
        const std::string rest(sizes() % (number % 100 == 0 ? 200'000 : 500), 'x');
        log.append({{reinterpret_cast<const char*>(&number), sizeof(number)}, rest});
        if (number % 8 == 0) log.flush();
        if (number % 500 == 0 && log.current_segment() > 6) {
          log.drop_before(log.current_segment() - 4);
        }
        while (log.unwritten_bytes() > 1 << 20) log.flush();
      }
    }
    close(told[1]);
    // At a moment of its own choice: after so many reports, and then some microseconds.
    uint64_t durable = 0;
    for (unsigned left = random() % 200; left > 0; --left) {
      ASSERT_EQ(read(told[0], &durable, sizeof(durable)), ssize_t{sizeof(durable)});
    }
    const auto spin = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 500);
    while (std::chrono::steady_clock::now() < spin) {
    }
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
    while (read(told[0], &durable, sizeof(durable)) == ssize_t{sizeof(durable)}) {
    }
    close(told[0]);

    LogLines lines;
    Log log({.folder = folder.path()}, {});
    ASSERT_GE(log.oldest_segment(), dropped_before);
    dropped_before = log.oldest_segment();
    uint64_t last = 0;
    log.recover([&](LogPosition, std::string_view record) {
      uint64_t number = 0;
      memcpy(&number, record.data(), sizeof(number));
      ASSERT_TRUE(last == 0 || number == last + 1) << last << " " << number;
      last = number;
    });
    ASSERT_GE(last, first + durable) << "round " << round;
    const auto text = lines.take();
    EXPECT_EQ(text.find("damaged"), std::string::npos) << text;
    if (text.find("cut") != std::string::npos) ++killed_while_writing;
    first = last;
  }
  RecordProperty("killed_while_writing", static_cast<int>(killed_while_writing));
}

}  // namespace
}  // namespace postoffice::embedded
