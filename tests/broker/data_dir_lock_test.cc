#include "broker/data_dir_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <optional>

#include "base/error.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// What the constructor complains of; empty when it does not.
std::string complaint(const std::string& data_dir) {
  try {
    const DataDirLock lock(data_dir);
    return "";
  } catch (const BadConfig& error) {
    return error.what();
  }
}

TEST(DataDirLock, CreatesTheFolderWithItsParents) {
  const TempFolder folder;
  const DataDirLock lock(folder.path() + "/a/b");
  EXPECT_TRUE(std::filesystem::is_directory(folder.path() + "/a/b"));
}

TEST(DataDirLock, RefusesASecondOwnerNamingTheSettingAndTheOwner) {
  const TempFolder folder;
  const DataDirLock lock(folder.path());
  EXPECT_THAT(complaint(folder.path()),
              AllOf(HasSubstr("DATA_DIR " + folder.path()), HasSubstr("another serve"),
                    HasSubstr(std::to_string(getpid()))));
}

TEST(DataDirLock, IsFreeAgainAfterItsOwner) {
  const TempFolder folder;
  { const DataDirLock lock(folder.path()); }
  EXPECT_EQ(complaint(folder.path()), "");
}

TEST(DataDirLock, IsFreeAgainAfterItsOwnerWasKilled) {
  const TempFolder folder;
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    const DataDirLock lock(folder.path());
    if (write(pipe_fds[1], "!", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(pipe_fds[0], &byte, 1), 1);
  EXPECT_THAT(complaint(folder.path()), HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(complaint(folder.path()), "");
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(DataDirLock, RefusesWhatIsNoFolder) {
  const TempFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  EXPECT_THAT(complaint(folder.path() + "/file"), HasSubstr("DATA_DIR"));
  EXPECT_THAT(complaint(folder.path() + "/file/below"), HasSubstr("DATA_DIR"));
  EXPECT_THAT(complaint("/proc/nothing"), HasSubstr("DATA_DIR /proc/nothing cannot be created"));
}

}  // namespace
}  // namespace postoffice
