#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "broker/topology.h"
#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

TEST(Expiry, DeletesWhatNoCallbackHasNamedForTheTtl) {
  Pipeline pipeline;
  pipeline.settings["OBJECT_TTL"] = "5s";
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=5ms", "--latency-max=50ms"});
  pipeline.start_server();
  pipeline.start_worker(10);
  ASSERT_EQ(pipeline.post_ids({1, 2}), 202);
  ASSERT_TRUE(eventually(Seconds(10), [&] { return pipeline.table().size() == 2; }));
  const auto named_once = pipeline.table().at(1).last_seen;

  // Object 2 is named on: it stays for as long as it is.
  std::map<int64_t, ObjectRow> rows;
  do {
    ASSERT_EQ(pipeline.post_ids({2}), 202);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // The pace of the callbacks.
    rows = pipeline.table();
  } while (rows.contains(1) && unix_now() < named_once + Millis(25'000));
  EXPECT_GE(unix_now(), named_once + Millis(5000)) << "object 1 was deleted too early";
  EXPECT_FALSE(rows.contains(1)) << "object 1 was kept too long";
  EXPECT_TRUE(rows.contains(2));
  EXPECT_TRUE(eventually(Seconds(30), [&] { return pipeline.table().empty(); }));
  EXPECT_GE(pipeline.server_metric("postoffice_objects_expired_total"), 2);
}

// A backlog longer than the TTL: nothing expires that is still named in a callback nobody has
// processed.
TEST(Expiry, WaitsForTheBacklog) {
  Pipeline pipeline;
  pipeline.settings["OBJECT_TTL"] = "8s";
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=10ms"});
  pipeline.start_server();
  pipeline.start_worker(20);
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < 50; ++id) ids.push_back(id);
  ASSERT_EQ(pipeline.post_ids(ids), 202);
  ASSERT_TRUE(eventually(Seconds(10), [&] { return pipeline.table().size() == 50; }));
  // Let the worker report, then take it away. Callbacks go on naming all objects.
  ASSERT_FALSE(eventually(Seconds(1.5), [&] { return pipeline.table().size() != 50; }));
  pipeline.worker().kill();
  const auto killed_at = unix_now();
  auto named_last = killed_at;
  while (named_last < killed_at + Millis(16'000)) {
    named_last = unix_now();
    ASSERT_EQ(pipeline.post_ids(ids), 202);
    ASSERT_EQ(pipeline.table().size(), 50u)
        << to_unix_millis(unix_now()) - to_unix_millis(killed_at) << " ms on";
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // The pace of the callbacks.
  }
  // A new worker catches up; the objects are seen anew and nothing was deleted on the way.
  pipeline.start_worker(20);
  ASSERT_TRUE(eventually(Seconds(30), [&] {
    const auto rows = pipeline.table();
    EXPECT_EQ(rows.size(), 50u);
    return testing::Test::HasFailure() || rows.at(0).last_seen >= named_last;
  }));
  // Expiry goes on once the queue is known to be empty: a worker that was killed counts for some
  // time.
  EXPECT_TRUE(eventually(Seconds(60), [&] { return pipeline.table().empty(); }));
}

TEST(Expiry, GoesOnAfterAWorkerStoppedInOrder) {
  Pipeline pipeline;
  pipeline.settings["OBJECT_TTL"] = "10s";
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=10ms"});
  pipeline.start_server();
  pipeline.start_worker(5);
  pipeline.start_worker(5);
  ASSERT_EQ(pipeline.post_ids({1, 2, 3}), 202);
  ASSERT_TRUE(eventually(Seconds(10), [&] { return pipeline.table().size() == 3; }));
  EXPECT_EQ(pipeline.worker(0).stop(), 0);
  EXPECT_TRUE(eventually(Seconds(30), [&] { return pipeline.table().empty(); }));
}

// While callbacks lie in the outbox, what they name stays.
TEST(Expiry, WaitsForTheOutbox) {
  Pipeline pipeline(Pipeline::Broker::kApart);
  pipeline.settings["OBJECT_TTL"] = "8s";
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=10ms"});
  pipeline.start_server();
  pipeline.start_worker(5);
  ASSERT_EQ(pipeline.post_ids({1}), 202);
  ASSERT_TRUE(eventually(Seconds(10), [&] { return pipeline.table().size() == 1; }));
  pipeline.broker_control().kill();
  ASSERT_EQ(pipeline.post_ids({1}), 202);
  const auto named_at = unix_now();
  EXPECT_FALSE(eventually(Seconds(8), [&] { return pipeline.table().empty(); }))
      << "deleted too early";
  pipeline.broker_control().up();
  EXPECT_TRUE(eventually(Seconds(60), [&] { return pipeline.table().empty(); }));
  EXPECT_GE(unix_now(), named_at + Millis(8000));
}

// The server is killed twice: with a full outbox, and again once it has forwarded that. Only its
// reports then tell that old callbacks are in the queue.
TEST(Expiry, OfAServerThatWasKilledWaitsForItsBacklogAndGoesOn) {
  Pipeline pipeline(Pipeline::Broker::kApart);
  pipeline.settings["OBJECT_TTL"] = "15s";
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=10ms"});
  pipeline.start_server();
  pipeline.start_worker(5);
  ASSERT_EQ(pipeline.post_ids({1, 2, 3}), 202);
  ASSERT_TRUE(eventually(Seconds(10), [&] { return pipeline.table().size() == 3; }));
  EXPECT_EQ(pipeline.worker(0).stop(), 0);
  pipeline.broker_control().kill();
  ASSERT_EQ(pipeline.post_ids({1, 2, 3}), 202);
  const auto named_at = unix_now();
  pipeline.server().process->kill();
  pipeline.start_server();
  pipeline.broker_control().up();
  const std::string queue(topology::kCallbacks);
  ASSERT_TRUE(eventually(Seconds(30), [&] {
    return pipeline.server_metric("postoffice_outbox_callbacks") == 0 &&
           pipeline.broker().length(queue) > 0;
  }));
  pipeline.server().process->kill();
  pipeline.start_server();
  EXPECT_FALSE(eventually(Seconds(17), [&] { return pipeline.table().size() != 3; }))
      << "deleted too early";
  pipeline.start_worker(5);
  ASSERT_TRUE(eventually(Seconds(20), [&] {
    const auto rows = pipeline.table();
    return rows.empty() || rows.at(1).last_seen >= named_at - Millis(1000);
  }));
  EXPECT_TRUE(eventually(Seconds(30), [&] { return pipeline.table().empty(); }))
      << "expiry stands still";
}

}  // namespace
}  // namespace postoffice::e2e
