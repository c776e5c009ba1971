#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "broker/topology.h"
#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

TEST(Callbacks, AreStoredRowByRow) {
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=5ms", "--latency-max=50ms"});
  pipeline.start_server();
  pipeline.start_worker(50);
  pipeline.start_sender({"--rate=200", "--count=600", "--ids-per-callback=20", "--id-space=2000"});
  pipeline.finish_sender();
  pipeline.expect_all_stored();
  for (const auto& callback : pipeline.sent()) EXPECT_EQ(callback.status, 202);
  EXPECT_EQ(pipeline.broker().length(std::string(topology::kCallbacks)), 0u);
  EXPECT_EQ(pipeline.broker().length(std::string(topology::kCallbacksDead)), 0u);
}

TEST(Callbacks, PassThroughTwoServersAndThreeWorkersAtOnce) {
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=5ms", "--latency-max=80ms"});
  pipeline.start_server(0);
  pipeline.start_server(1);
  for (int i = 0; i < 3; ++i) pipeline.start_worker(20);
  // Few ids, so that all three workers ask for the same ones at once and answers arrive out of
  // order.
  pipeline.start_sender({"--rate=100", "--count=400", "--ids-per-callback=50", "--id-space=200"},
                        0);
  pipeline.start_sender({"--rate=100", "--count=400", "--ids-per-callback=50", "--id-space=200"},
                        1);
  pipeline.finish_sender(0);
  pipeline.finish_sender(1);
  pipeline.expect_all_stored();
}

// Both workers ask for the same few objects all the time, and what is answered changes every second
// while answers take up to 2.5: one that was asked for later and came earlier says the opposite of
// the one it overtook. A row's checked_at is when its answer was asked for.
TEST(Callbacks, AnswersThatOvertakeEachOtherLeaveTheNewest) {
  constexpr Millis kFlipEvery{1000};
  constexpr int64_t kIds = 20;
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=50ms", "--latency-max=2500ms",
                          "--flip-every=" + format_duration(kFlipEvery)});
  pipeline.start_server();
  for (int i = 0; i < 2; ++i) pipeline.start_worker(kIds);
  auto& sender = pipeline.start_sender(
      {"--rate=50", "--count=500", "--ids-per-callback=" + std::to_string(kIds),
       "--id-mode=sequential", "--id-space=" + std::to_string(kIds), "--timeout=5s"});
  std::map<int64_t, ObjectRow> seen;
  size_t changes = 0;
  const auto look = [&] {
    for (const auto& [id, row] : pipeline.table()) {
      const auto before = seen.find(id);
      if (before != seen.end()) {
        ASSERT_GE(row.checked_at, before->second.checked_at) << id << ": an older answer won";
        changes += row.online != before->second.online ? 1 : 0;
      }
      seen[id] = row;
      const auto span = row.checked_at.time_since_epoch() / kFlipEvery;
      // A question sent late in a span may have arrived in the next.
      if (row.checked_at.time_since_epoch() % kFlipEvery > kFlipEvery / 2) continue;
      ASSERT_EQ(row.online, (id + span) % 2 == 0)
          << id << ": not what was said at " << format_rfc3339(row.checked_at);
    }
  };
  while (sender.running()) ASSERT_NO_FATAL_FAILURE(look());
  pipeline.finish_sender();

  UnixTime last_sent;
  for (const auto& callback : pipeline.sent()) {
    ASSERT_EQ(callback.status, 202);
    last_sent = std::max(last_sent, callback.sent_at);
  }
  const auto idle = [&] {
    for (size_t i = 0; i < 2; ++i) {
      if (pipeline.worker_metric("postoffice_deliveries_held", i) > 0) return false;
    }
    return std::ranges::all_of(seen, [&](const auto& row) {
      return row.second.checked_at >= last_sent && row.second.last_seen >= last_sent;
    });
  };
  EXPECT_TRUE(eventually(Seconds(60), [&] {
    look();
    return testing::Test::HasFatalFailure() || idle();
  }));
  EXPECT_EQ(seen.size(), static_cast<size_t>(kIds));
  EXPECT_GT(changes, static_cast<size_t>(kIds));
  testing::Test::RecordProperty("changes", static_cast<int>(changes));
}

TEST(Callbacks, LastSeenIsTheTimeOfReceipt) {
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1s", "--latency-max=1s"});
  pipeline.start_server();
  pipeline.start_worker(5);
  const auto before = unix_now();
  ASSERT_EQ(pipeline.post_ids({7}), 202);
  const auto after = unix_now();
  ASSERT_TRUE(eventually(Seconds(20), [&] { return pipeline.table().contains(7); }));
  const auto row = pipeline.table().at(7);
  EXPECT_GE(row.last_seen, before);
  EXPECT_LE(row.last_seen, after);
  EXPECT_FALSE(row.online);
}

TEST(Callbacks, AMessageThatIsNoCallbackIsADeadLetterAndTheRestOfItsBatchIsProcessed) {
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=5ms"});
  pipeline.start_server();
  pipeline.start_worker(5);
  const std::string now = std::to_string(to_unix_millis(unix_now()));
  pipeline.broker().publish(
      std::string(topology::kCallbacks),
      "{\"received_at\":" + now + ",\"object_ids\":[2]}\nthis is no JSON\n{\"received_at\":" + now +
          ",\"object_ids\":[\"x\"]}\n{\"received_at\":" + now + ",\"object_ids\":[4]}\n");
  EXPECT_TRUE(eventually(Seconds(20), [&] {
    const auto rows = pipeline.table();
    return rows.contains(2) && rows.contains(4);
  }));
  std::vector<RawMessage> dead;
  ASSERT_TRUE(eventually(Seconds(20), [&] {
    for (auto& message : pipeline.broker().take_all(std::string(topology::kCallbacksDead))) {
      dead.push_back(std::move(message));
    }
    return dead.size() >= 2;
  }));
  ASSERT_EQ(dead.size(), 2u);
  for (const auto& message : dead)
    EXPECT_FALSE(message.headers.at("reason").empty()) << message.body;
}

// One test answers for the HTTP contract of the whole pipeline; tests/server has the details.
TEST(Callbacks, AreReadBackOverHttp) {
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=5ms"});
  pipeline.start_server();
  pipeline.start_worker(5);
  ASSERT_EQ(pipeline.post_ids({1, 2, 3, 4, 4}), 202);
  ASSERT_TRUE(eventually(Seconds(20), [&] { return pipeline.table().size() == 4; }));

  httplib::Client client("127.0.0.1", pipeline.server().port);
  const auto one = client.Get("/objects/2");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->status, 200);
  EXPECT_EQ(nlohmann::json::parse(one->body).at("online"), true);
  EXPECT_EQ(client.Get("/objects/99")->status, 404);

  const auto page = client.Get("/objects?online=false&limit=1");
  ASSERT_TRUE(page);
  const auto first = nlohmann::json::parse(page->body);
  ASSERT_EQ(first.at("objects").size(), 1u);
  EXPECT_EQ(first.at("objects")[0].at("id"), 1);
  EXPECT_EQ(first.at("next"), 1);
  const auto second =
      nlohmann::json::parse(client.Get("/objects?online=false&limit=1&after=1")->body);
  EXPECT_EQ(second.at("objects")[0].at("id"), 3);

  EXPECT_EQ(client.Get("/readyz")->status, 200);
  EXPECT_EQ(pipeline.post("{\"object_ids\":[1,\"x\"]}"), 400);
  EXPECT_EQ(pipeline.post("{\"object_ids\":[]}"), 202);
}

}  // namespace
}  // namespace postoffice::e2e
