#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/base/raw_connection.h"
#include "tests/e2e/pipeline.h"
#include "tests/e2e/services.h"

namespace postoffice::e2e {
namespace {

class DatabaseFault : public testing::Test {
 protected:
  void SetUp() override { pipeline_ = std::make_unique<Pipeline>(); }
  void start() {
    pipeline_->migrate();
    pipeline_->start_objects({"--latency-min=5ms", "--latency-max=50ms"});
    pipeline_->start_server();
    pipeline_->start_worker(50);
  }
  bool sent_at_least(size_t count) {
    return eventually(Seconds(60), [&] { return pipeline_->sent().size() >= count; });
  }
  std::unique_ptr<Pipeline> pipeline_;
};

TEST_F(DatabaseFault, RestartedUnderLoadLosesNothing) {
  start();
  pipeline_->start_sender(
      {"--rate=200", "--count=2000", "--ids-per-callback=20", "--id-space=3000"});
  ASSERT_TRUE(sent_at_least(400));
  pipeline_->database_control().kill();
  ASSERT_TRUE(sent_at_least(1000));
  pipeline_->database_control().up();
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(90));
  for (const auto& callback : pipeline_->sent()) EXPECT_EQ(callback.status, 202);
}

TEST_F(DatabaseFault, HangingUnderLoadLosesNothing) {
  start();
  pipeline_->start_sender(
      {"--rate=100", "--count=1000", "--ids-per-callback=20", "--id-space=3000"});
  ASSERT_TRUE(sent_at_least(200));
  pipeline_->database_control().pause();
  ASSERT_TRUE(sent_at_least(700));
  pipeline_->database_control().resume();
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(90));
  for (const auto& callback : pipeline_->sent()) EXPECT_EQ(callback.status, 202);
}

TEST_F(DatabaseFault, DownAtTheStartIsWaitedForAndCallbacksAreTaken) {
  pipeline_->migrate();
  pipeline_->database_control().kill();
  pipeline_->start_objects({"--latency-min=1ms", "--latency-max=2ms"});
  pipeline_->start_server();
  pipeline_->start_worker(5);
  EXPECT_EQ(pipeline_->post_ids({5}), 202);
  pipeline_->database_control().up();
  EXPECT_TRUE(eventually(Seconds(60), [&] {
    try {
      return pipeline_->table().contains(5);
    } catch (const std::exception&) {
      return false;
    }
  }));
}

TEST_F(DatabaseFault, AServerStopsInTimeWhileTheDatabaseHangs) {
  pipeline_->migrate();
  pipeline_->settings["STOP_TIMEOUT"] = "2s";
  auto& server = pipeline_->start_server();
  ASSERT_EQ(pipeline_->post_ids({1}), 202);
  pipeline_->database_control().pause();
  RawConnection reader(server.port);
  ASSERT_TRUE(reader.send("GET /objects HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_EQ(pipeline_->post_ids({2}), 202);  // The read has begun by now.
  server.process->signal(SIGTERM);
  // The read takes 10 s and more.
  EXPECT_EQ(server.process->wait(Seconds(8)), 0);
  pipeline_->database_control().resume();
}

// SQLite migrates by itself.
TEST_F(DatabaseFault, NotMigratedSaysWhatToRunAndIsWaitedFor) {
  pipeline_->start_objects({"--latency-min=1ms", "--latency-max=2ms"});
  pipeline_->start_server();
  auto& worker = pipeline_->start_worker(5);
  ASSERT_EQ(pipeline_->post_ids({6}), 202);
  if (engines_are_embedded()) {
    EXPECT_TRUE(eventually(Seconds(60), [&] { return pipeline_->table().contains(6); }));
    return;
  }
  const std::string advice = "run: postoffice migrate";
  EXPECT_TRUE(
      eventually(Seconds(30), [&] { return worker.output().find(advice) != std::string::npos; }));
  EXPECT_TRUE(eventually(Seconds(30), [&] {
    return pipeline_->server().process->output().find(advice) != std::string::npos;
  }));
  pipeline_->migrate();
  EXPECT_TRUE(eventually(Seconds(60), [&] { return pipeline_->table().contains(6); }));
}

// While the database is away nobody spins: the processes use next to no processor time.
TEST_F(DatabaseFault, AnOutageIsNoHotLoop) {
  start();
  pipeline_->database_control().kill();
  for (int64_t id = 0; id < 200; ++id) ASSERT_EQ(pipeline_->post_ids({id}), 202);
  const auto used_ticks = [](const Process& process) {
    std::ifstream file("/proc/" + std::to_string(process.pid()) + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skipped;
    for (int field = 3; field < 14; ++field) fields >> skipped;
    long user = 0;
    long system = 0;
    fields >> user >> system;
    return user + system;
  };
  const auto& worker = pipeline_->worker();
  const auto& server = *pipeline_->server().process;
  const long before = used_ticks(worker) + used_ticks(server);
  ASSERT_FALSE(eventually(Seconds(6), [&] { return !pipeline_->worker().running(); }));
  const long used = used_ticks(worker) + used_ticks(server) - before;
  // 100 ticks a second: at most a quarter of one core for both.
  EXPECT_LE(used, 150);
  pipeline_->database_control().up();
  EXPECT_TRUE(eventually(Seconds(60), [&] {
    try {
      return pipeline_->table().size() == 200;
    } catch (const std::exception&) {
      return false;
    }
  }));
}

}  // namespace
}  // namespace postoffice::e2e
