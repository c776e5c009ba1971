#include "base/process_id.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"

namespace postoffice {
namespace {

TEST(ProcessId, NamesTheProcessAndIsNewEachTime) {
  const std::string id = make_process_id();
  EXPECT_NE(id.find("-" + std::to_string(getpid()) + "-"), std::string::npos) << id;
  EXPECT_NE(id, make_process_id());
}

TEST(ProcessId, IsKeptInAFile) {
  const std::string path = testing::TempDir() + "/" + make_process_id();
  const std::string id = kept_process_id(path);
  EXPECT_EQ(kept_process_id(path), id);
  std::remove(path.c_str());
  EXPECT_NE(kept_process_id(path), id);
  std::remove(path.c_str());
  EXPECT_THROW(kept_process_id("/no such folder/id"), BadConfig);
}

}  // namespace
}  // namespace postoffice
