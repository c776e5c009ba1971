#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "tests/server/callback_servers.h"

namespace postoffice {
namespace {

// The requests that the fuzz target starts from: well-formed, odd and hostile ones.
std::map<std::string, std::string> requests() {
  std::map<std::string, std::string> requests;
  const std::filesystem::path folder = POSTOFFICE_SOURCE_DIR "/tests/fuzz/corpus/callback";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    requests[entry.path().filename()] = {std::istreambuf_iterator<char>(file), {}};
  }
  return requests;
}

// As far as splits are concerned: of long requests, the beginning and the end.
constexpr size_t kSplitBytes = 150;

TEST(CallbackDifferential, TheDirectWayAnswersWhatRoutingAnswers) {
  const CallbackServers servers;
  const auto all = requests();
  ASSERT_GE(all.size(), 100U);
  for (const auto& [name, bytes] : all) {
    const auto expected = servers.answers(/*direct=*/false, bytes);
    EXPECT_EQ(servers.answers(/*direct=*/true, bytes), expected) << name;
    for (size_t split = 1; split < bytes.size(); ++split) {
      if (split > kSplitBytes && split + kSplitBytes < bytes.size()) continue;
      ASSERT_EQ(servers.answers(/*direct=*/true, bytes, split), expected)
          << name << " in two pieces, the first of " << split << " bytes";
    }
  }
}

TEST(CallbackDifferential, SomeOfTheRequestsAreAccepted) {
  const CallbackServers servers;
  const auto all = requests();
  EXPECT_EQ(servers.answers(true, all.at("plain")),
            std::vector<std::string>{R"(202 {"accepted":3})"});
  EXPECT_EQ(servers.answers(true, all.at("pipelined")).size(), 3U);
  EXPECT_EQ(servers.answers(true, all.at("pipelined_mixed")).size(), 4U);
}

}  // namespace
}  // namespace postoffice
