#include <gtest/gtest.h>
#include <httplib.h>

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
