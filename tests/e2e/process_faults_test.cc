#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "broker/topology.h"
#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

class ProcessFault : public testing::Test {
 protected:
  explicit ProcessFault(Pipeline::Broker broker = Pipeline::Broker::kInServer)
      : pipeline_(std::make_unique<Pipeline>(broker)) {}
  void SetUp() override { pipeline_->migrate(); }
  bool sent_at_least(size_t count) {
    return eventually(Seconds(60), [&] { return pipeline_->sent().size() >= count; });
  }
  // Freezes a worker at a moment when it holds the database's lock, or when it does not.
  bool freeze(Process& worker, bool holding_the_lock) {
    const auto deadline = std::chrono::steady_clock::now() + Seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      worker.freeze();
      if ((pipeline_->database_control().writer() == worker.pid()) == holding_the_lock) return true;
      worker.signal(SIGCONT);
      std::this_thread::sleep_for(Seconds(0.005));
    }
    return false;
  }
  std::unique_ptr<Pipeline> pipeline_;
};

class ProcessFaultWithoutBroker : public ProcessFault {
 protected:
  ProcessFaultWithoutBroker() : ProcessFault(Pipeline::Broker::kApart) {}
};

// On SQLite alone: PostgreSQL has no lock that a client could hang with.
class LockedDatabase : public ProcessFault {};

TEST_F(ProcessFault, AWorkerKilledInMidBatchLosesNothing) {
  pipeline_->start_objects({"--latency-min=50ms", "--latency-max=500ms"});
  pipeline_->start_server();
  pipeline_->start_worker(50);
  pipeline_->start_sender(
      {"--rate=200", "--count=1200", "--ids-per-callback=20", "--id-space=2000"});
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(sent_at_least(300 * (i + 1)));
    ASSERT_TRUE(eventually(Seconds(20), [&] {
      return pipeline_->worker_metric("postoffice_fetches_in_flight", i) > 0;
    }));
    pipeline_->worker(i).kill();
    pipeline_->start_worker(50);
  }
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(90));
}

TEST_F(ProcessFaultWithoutBroker, AServerKilledWithAFullOutboxLosesNothing) {
  pipeline_->start_objects({"--latency-min=5ms", "--latency-max=20ms"});
  pipeline_->start_server();
  pipeline_->broker_control().kill();
  auto& sender = pipeline_->start_sender(
      {"--rate=200", "--count=100000", "--ids-per-callback=20", "--id-space=5000"});
  ASSERT_TRUE(sent_at_least(1000));
  pipeline_->server().process->kill();  // While callbacks are being answered.
  sender.stop();
  pipeline_->start_server();
  EXPECT_GT(pipeline_->server_metric("postoffice_outbox_callbacks"), 900);
  pipeline_->broker_control().up();
  pipeline_->start_worker(100);
  pipeline_->expect_all_stored(Seconds(90));
}

TEST_F(ProcessFault, AServerKilledUnderLoadLosesNothing) {
  pipeline_->start_objects({"--latency-min=5ms", "--latency-max=20ms"});
  pipeline_->start_server();
  pipeline_->start_worker(50);
  pipeline_->start_sender(
      {"--rate=300", "--count=1800", "--ids-per-callback=20", "--id-space=5000"});
  for (size_t i = 1; i <= 3; ++i) {
    ASSERT_TRUE(sent_at_least(400 * i));
    pipeline_->server().process->kill();
    pipeline_->start_server();
  }
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(90));
}

TEST_F(ProcessFault, AWorkerThatVanishesWhileOthersGoOnLosesNothing) {
  pipeline_->start_objects({"--latency-min=50ms", "--latency-max=300ms"});
  pipeline_->start_server();
  for (int i = 0; i < 3; ++i) pipeline_->start_worker(20);
  pipeline_->start_sender(
      {"--rate=150", "--count=900", "--ids-per-callback=20", "--id-space=1000"});
  ASSERT_TRUE(sent_at_least(300));
  pipeline_->worker(1).kill();
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(90));
}

// A worker that is frozen keeps its deliveries until the broker gives its connection up for want of
// heartbeats. The others store meanwhile, unless it was frozen while it held SQLite's lock.
TEST_F(ProcessFault, AWorkerThatHangsLosesNothing) {
  pipeline_->start_objects({"--latency-min=50ms", "--latency-max=300ms"});
  pipeline_->start_server();
  pipeline_->start_worker(20);
  pipeline_->start_worker(20);
  pipeline_->start_sender(
      {"--rate=100", "--count=500", "--ids-per-callback=20", "--id-space=1000"});
  ASSERT_TRUE(sent_at_least(200));
  ASSERT_TRUE(freeze(pipeline_->worker(0), /*holding_the_lock=*/false));
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(90));
  pipeline_->worker(0).signal(SIGCONT);
  EXPECT_TRUE(pipeline_->worker(0).running());
}

// Nobody can take SQLite's lock from a worker that is frozen in the middle of a commit: the others
// wait, callbacks are accepted all the same, and once it is killed everything is stored.
TEST_F(LockedDatabase, WaitsUntilTheWorkerThatHangsIsKilledAndLosesNothing) {
  pipeline_->start_objects({"--latency-min=5ms", "--latency-max=20ms"});
  pipeline_->start_server();
  pipeline_->start_worker(50);
  pipeline_->start_worker(50);
  auto& sender = pipeline_->start_sender(
      {"--rate=100", "--count=100000", "--ids-per-callback=20", "--id-space=5000"});
  ASSERT_TRUE(sent_at_least(200));
  ASSERT_TRUE(freeze(pipeline_->worker(0), /*holding_the_lock=*/true));
  const size_t sent_before = pipeline_->sent().size();
  EXPECT_TRUE(eventually(Seconds(30), [&] {
    return pipeline_->worker(1).output().find("database is locked") != std::string::npos;
  }));
  EXPECT_TRUE(sent_at_least(sent_before + 200));
  EXPECT_EQ(pipeline_->database_control().writer(), pipeline_->worker(0).pid());
  sender.stop();
  for (const auto& callback : pipeline_->sent()) ASSERT_EQ(callback.status, 202);
  pipeline_->worker(0).kill();
  pipeline_->expect_all_stored(Seconds(90));
}

TEST_F(ProcessFault, AWorkerDrainsOnSigtermInTimeAndLeavesNothingBehind) {
  pipeline_->start_objects({"--latency-min=300ms", "--latency-max=4300ms"});
  pipeline_->start_server();
  pipeline_->start_worker(100);
  pipeline_->start_sender(
      {"--rate=100", "--count=300", "--ids-per-callback=20", "--id-space=2000"});
  ASSERT_TRUE(sent_at_least(150));
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(pipeline_->worker().stop(), 0) << pipeline_->worker().output();
  EXPECT_LT(std::chrono::steady_clock::now() - began, Seconds(14));
  pipeline_->start_worker(200);
  pipeline_->finish_sender();
  pipeline_->expect_all_stored(Seconds(120));
}

TEST_F(ProcessFault, AWorkerStopsInTimeWhenTheObjectServiceHangs) {
  pipeline_->start_objects({"--failure-rate=1", "--failure-kind=hang"});
  pipeline_->start_server();
  pipeline_->start_worker(20);
  ASSERT_EQ(pipeline_->post_ids({1, 2, 3}), 202);
  ASSERT_TRUE(eventually(
      Seconds(20), [&] { return pipeline_->worker_metric("postoffice_fetches_in_flight") == 3; }));
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(pipeline_->worker().stop(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - began, Seconds(14));
  EXPECT_TRUE(eventually(Seconds(10), [&] {
    return pipeline_->broker().length(std::string(topology::kCallbacks)) == 1;
  }));
}

TEST_F(ProcessFault, AServerStopsInOrderUnderLoad) {
  pipeline_->start_objects({"--latency-min=5ms", "--latency-max=20ms"});
  pipeline_->start_server();
  pipeline_->start_worker(50);
  auto& sender = pipeline_->start_sender(
      {"--rate=300", "--count=100000", "--ids-per-callback=20", "--id-space=5000"});
  ASSERT_TRUE(sent_at_least(500));
  EXPECT_EQ(pipeline_->server().process->stop(), 0) << pipeline_->server().process->output();
  sender.stop();
  pipeline_->start_server();
  pipeline_->expect_all_stored(Seconds(90));
}

TEST_F(ProcessFault, ASecondSignalEndsAtOnce) {
  pipeline_->settings["STOP_TIMEOUT"] = "60s";
  pipeline_->start_objects({"--failure-rate=1", "--failure-kind=hang"});
  pipeline_->start_server();
  auto& worker = pipeline_->start_worker(2);
  ASSERT_EQ(pipeline_->post_ids({1}), 202);
  ASSERT_TRUE(eventually(
      Seconds(20), [&] { return pipeline_->worker_metric("postoffice_fetches_in_flight") == 1; }));
  worker.signal(SIGTERM);
  ASSERT_TRUE(eventually(Seconds(20),
                         [&] { return worker.output().find("stopping") != std::string::npos; }));
  EXPECT_TRUE(worker.running());
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.wait(Seconds(15)), 130);
}

TEST_F(ProcessFault, TwoServersOnOneDataDirAreRefused) {
  const auto& server = pipeline_->start_server();
  auto environment = pipeline_->settings;
  environment["SERVER_PORT"] = std::to_string(free_port());
  environment["DATA_DIR"] = server.data_dir;
  Process second({std::string(POSTOFFICE_BIN_DIR) + "/postoffice", "serve"}, environment,
                 pipeline_->folder(), "second");
  EXPECT_EQ(second.wait(Seconds(10)), 2);
  EXPECT_NE(second.output().find("DATA_DIR"), std::string::npos) << second.output();
}

TEST_F(ProcessFault, APortInUseIsRefusedByName) {
  const auto& server = pipeline_->start_server();
  auto environment = pipeline_->settings;
  environment["SERVER_PORT"] = std::to_string(server.port);
  environment["DATA_DIR"] = pipeline_->folder() + "/other";
  environment["BROKER_PORT"] = std::to_string(free_port());
  Process second({std::string(POSTOFFICE_BIN_DIR) + "/postoffice", "serve"}, environment,
                 pipeline_->folder(), "second");
  EXPECT_EQ(second.wait(Seconds(10)), 2);
  EXPECT_NE(second.output().find("SERVER_PORT"), std::string::npos) << second.output();
}

TEST_F(ProcessFault, ABrokerPortInUseIsRefusedByName) {
  const std::string port = std::to_string(pipeline_->start_server().port);
  Process second({std::string(POSTOFFICE_BIN_DIR) + "/postoffice", "serve"},
                 {{"DATA_DIR", pipeline_->folder() + "/other"}, {"BROKER_PORT", port}},
                 pipeline_->folder(), "second");
  EXPECT_EQ(second.wait(Seconds(10)), 2);
  EXPECT_NE(second.output().find(port + " is in use: set AMQP_URL to use that broker, or "
                                        "BROKER_PORT"),
            std::string::npos)
      << second.output();
}

}  // namespace
}  // namespace postoffice::e2e
