#include "tester/sent_log.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"

namespace postoffice::tester {
namespace {

using std::chrono::microseconds;

class SentLogTest : public testing::Test {
 protected:
  SentLogTest()
      : path_(std::filesystem::path(testing::TempDir()) /
              ("sent-" + std::to_string(getpid()) + ".log")) {}
  ~SentLogTest() override { std::filesystem::remove(path_); }

  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(path_).rdbuf();
    return all.str();
  }
  void write(const std::string& content) const { std::ofstream(path_) << content; }

  const std::filesystem::path path_;
};

TEST_F(SentLogTest, HasALineForEach) {
  SentLog log(path_);
  log.append(from_unix_millis(1790000000123), 202, microseconds(1500), {7, -8, INT64_MAX});
  log.append(from_unix_millis(1790000000124), 0, microseconds(1000000), {});
  EXPECT_EQ(text(),
            "1790000000123 202 1500 7,-8,9223372036854775807\n"
            "1790000000124 0 1000000 \n");
  EXPECT_TRUE(log.complete());
}

TEST_F(SentLogTest, IsContinuedWithoutTheLineThatWasCutShort) {
  write("1 202 3 4,5\n6 202 7 8,");
  SentLog(path_).append(from_unix_millis(9), 202, microseconds(1), {2});
  EXPECT_EQ(text(), "1 202 3 4,5\n9 202 1 2\n");
}

TEST_F(SentLogTest, OnlyACutLineIsAnEmptyLog) {
  write("6 202 7 8,");
  const SentLog log(path_);
  EXPECT_EQ(text(), "");
}

TEST_F(SentLogTest, ThreadsDoNotMixTheirLines) {
  constexpr int kThreads = 8;
  constexpr int kLines = 500;
  {
    SentLog log(path_);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        const std::vector<int64_t> ids(200, i);
        for (int line = 0; line < kLines; ++line) {
          log.append(from_unix_millis(i), 202, microseconds(i), ids);
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  std::ifstream file(path_);
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const std::string i = line.substr(0, 1);
    std::string wanted = i + " 202 " + i + " " + i;
    for (int n = 1; n < 200; ++n) wanted += "," + i;
    ASSERT_EQ(line, wanted);
  }
  EXPECT_EQ(lines, kThreads * kLines);
}

TEST_F(SentLogTest, AFileThatCannotBeWrittenIsBadConfig) {
  try {
    const SentLog log("/no/such/folder/log");
    FAIL() << "opened it";
  } catch (const BadConfig& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("SENT_LOG"));
    EXPECT_THAT(error.what(), testing::HasSubstr("/no/such/folder/log"));
  }
}

TEST_F(SentLogTest, SaysWhenItIsIncomplete) {
  SentLog log("/dev/full");
  log.append(from_unix_millis(1), 202, microseconds(1), {1});
  EXPECT_FALSE(log.complete());
}

}  // namespace
}  // namespace postoffice::tester
