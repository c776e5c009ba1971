#include <gtest/gtest.h>

#include "broker/topology.h"
#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

class ObjectServiceFault : public testing::Test {
 protected:
  void SetUp() override {
    pipeline_.migrate();
    pipeline_.start_server();
  }
  void start_healthy() { pipeline_.start_objects({"--latency-min=5ms", "--latency-max=50ms"}); }
  bool sent_at_least(size_t count) {
    return eventually(Seconds(60), [&] { return pipeline_.sent().size() >= count; });
  }
  void send(size_t count) {
    pipeline_.start_sender({"--rate=100", "--count=" + std::to_string(count),
                            "--ids-per-callback=10", "--id-space=1000"});
  }
  void expect_no_dead_letters() {
    EXPECT_EQ(pipeline_.broker().length(std::string(topology::kCallbacksDead)), 0u);
  }
  Pipeline pipeline_;
};

TEST_F(ObjectServiceFault, DownAtTheStartIsWaitedFor) {
  pipeline_.start_worker(50);
  send(300);
  pipeline_.finish_sender();
  // Longer than it takes to be sure that it is down (10 s).
  ASSERT_TRUE(eventually(
      Seconds(40), [&] { return pipeline_.worker_metric("postoffice_object_service_up") == 0; }));
  start_healthy();
  pipeline_.expect_all_stored(Seconds(120));
  expect_no_dead_letters();
}

TEST_F(ObjectServiceFault, DownUnderLoadLosesNothing) {
  start_healthy();
  pipeline_.start_worker(50);
  send(800);
  ASSERT_TRUE(sent_at_least(200));
  pipeline_.stop_objects();
  ASSERT_TRUE(sent_at_least(600));
  start_healthy();
  pipeline_.finish_sender();
  pipeline_.expect_all_stored(Seconds(120));
  expect_no_dead_letters();
}

struct Failure {
  const char* name;
  const char* control;
};

class FailingObjectService : public ObjectServiceFault,
                             public testing::WithParamInterface<Failure> {};

TEST_P(FailingObjectService, LosesNothing) {
  start_healthy();
  pipeline_.start_worker(50);
  send(600);
  ASSERT_TRUE(sent_at_least(100));
  pipeline_.control_objects(GetParam().control);
  ASSERT_TRUE(sent_at_least(400));
  pipeline_.control_objects("failure_rate=0");
  pipeline_.finish_sender();
  pipeline_.expect_all_stored(Seconds(150));
  expect_no_dead_letters();
}

INSTANTIATE_TEST_SUITE_P(Answers, FailingObjectService,
                         testing::Values(Failure{"500", "failure_kind=500&failure_rate=1"},
                                         Failure{"429", "failure_kind=429&failure_rate=1"},
                                         Failure{"garbage", "failure_kind=garbage&failure_rate=1"},
                                         Failure{"hang", "failure_kind=hang&failure_rate=1"},
                                         Failure{"half", "failure_kind=500&failure_rate=0.5"}),
                         [](const auto& test) { return std::string("Answer") + test.param.name; });

TEST_F(ObjectServiceFault, ForOneIdOnlyHoldsBackNoOther) {
  pipeline_.start_objects({"--latency-min=5ms", "--latency-max=20ms", "--failure-rate=1",
                           "--failure-kind=500", "--fail-ids=7"});
  pipeline_.start_worker(4);
  for (int64_t id = 0; id < 50; ++id) ASSERT_EQ(pipeline_.post_ids({id, 7}), 202);
  ASSERT_TRUE(eventually(Seconds(60), [&] { return pipeline_.table().size() == 49; }));
  EXPECT_FALSE(pipeline_.table().contains(7));
  // Every message is acknowledged although one of its ids failed: it waits alone.
  EXPECT_TRUE(eventually(Seconds(10), [&] {
    return pipeline_.broker().length(std::string(topology::kCallbacks)) == 0;
  }));
  // Five attempts, then the dead-letter queue with the reason.
  std::vector<RawMessage> dead;
  EXPECT_TRUE(eventually(Seconds(120), [&] {
    for (auto& message : pipeline_.broker().take_all(std::string(topology::kCallbacksDead))) {
      dead.push_back(std::move(message));
    }
    return !dead.empty();
  }));
  ASSERT_FALSE(dead.empty());
  EXPECT_NE(dead[0].headers.at("reason").find("500"), std::string::npos)
      << dead[0].headers.at("reason");
  EXPECT_NE(dead[0].body.find("7"), std::string::npos);
}

TEST_F(ObjectServiceFault, ForOneIdThatRecoversIsRetried) {
  pipeline_.start_objects({"--latency-min=5ms", "--latency-max=20ms", "--failure-rate=1",
                           "--failure-kind=garbage", "--fail-ids=8"});
  pipeline_.start_worker(4);
  ASSERT_EQ(pipeline_.post_ids({6, 8, 10}), 202);
  ASSERT_TRUE(eventually(Seconds(20), [&] { return pipeline_.table().size() == 2; }));
  ASSERT_TRUE(eventually(Seconds(20),
                         [&] { return pipeline_.worker_metric("postoffice_retries_total") >= 1; }));
  pipeline_.control_objects("failure_rate=0");
  EXPECT_TRUE(eventually(Seconds(60), [&] { return pipeline_.table().contains(8); }));
  expect_no_dead_letters();
}

}  // namespace
}  // namespace postoffice::e2e
