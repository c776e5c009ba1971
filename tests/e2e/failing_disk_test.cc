// Sanitizers do not run preloaded.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <gtest/gtest.h>
#include <httplib.h>

#include <filesystem>
#include <fstream>

#include "tests/e2e/process.h"

namespace postoffice::e2e {
namespace {

// With the embedded broker, whichever engines the other tests run on.
TEST(FailingDisk, OfTheBrokerAnswers503AndSaysSo) {
  const std::string folder = testing::TempDir() + "failing_disk_" + std::to_string(getpid());
  std::filesystem::create_directories(folder);
  const std::string from = folder + "/failing";
  const int port = free_port();
  Process serve({std::string(POSTOFFICE_BIN_DIR) + "/postoffice", "serve"},
                {{"DATA_DIR", folder + "/data"},
                 {"SERVER_PORT", std::to_string(port)},
                 {"BROKER_PORT", std::to_string(free_port())},
                 {"LD_PRELOAD", POSTOFFICE_TEST_DIR "/libfailing_sync.so"},
                 {"FAIL_SYNC_FROM", from}},
                folder, "serve");
  httplib::Client client("127.0.0.1", port);
  const auto post = [&] {
    const auto result = client.Post("/callback", R"({"object_ids":[1]})", "application/json");
    return result ? result->status : 0;
  };
  ASSERT_TRUE(eventually(Seconds(20), [&] { return post() == 202; })) << serve.output();
  EXPECT_EQ(client.Get("/readyz")->status, 200);

  std::ofstream(from) << "from now on";
  EXPECT_EQ(post(), 503) << serve.output();
  EXPECT_EQ(post(), 503);
  const auto readiness = client.Get("/readyz");
  EXPECT_EQ(readiness->status, 503);
  EXPECT_NE(readiness->body.find("the disk failed"), std::string::npos) << readiness->body;
  // Not tried again: what the page cache holds is unknown.
  std::filesystem::remove(from);
  EXPECT_EQ(post(), 503);

  // What was accepted before is there after a restart on a good disk, and so is the service.
  EXPECT_EQ(serve.stop(), 0) << serve.output();
  Process again({std::string(POSTOFFICE_BIN_DIR) + "/postoffice", "serve"},
                {{"DATA_DIR", folder + "/data"},
                 {"SERVER_PORT", std::to_string(port)},
                 {"BROKER_PORT", std::to_string(free_port())}},
                folder, "again");
  EXPECT_TRUE(eventually(Seconds(20), [&] { return post() == 202; })) << again.output();
  // What was refused may be there too.
  const std::string log = again.output();
  EXPECT_NE(log.find(" queues with "), std::string::npos) << log;
  EXPECT_EQ(log.find(" queues with 0 messages"), std::string::npos) << log;
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace postoffice::e2e

#endif
