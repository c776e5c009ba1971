#include "tester/object_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/error.h"
#include "tester/answer_loop.h"
#include "tests/tester/eventually.h"
#include "tests/tester/raw_client.h"

namespace postoffice::tester {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using testing::HasSubstr;

ObjectBehaviour instant() {
  ObjectBehaviour behaviour;
  behaviour.latency_min = behaviour.latency_max = Millis(0);
  return behaviour;
}

class RunningService : public testing::Test {
 protected:
  void start(ObjectBehaviour behaviour) {
    service_ = std::make_unique<ObjectService>(
        std::move(behaviour), ObjectService::Sender{.stop = [this] { stopped_ = true; },
                                                    .sending = [this] { return !stopped_; },
                                                    .stats = [] { return CallbackStats{}; }});
    loop_ = std::make_unique<AnswerLoop>("localhost", 0, *service_);
    loop_->start();
  }
  void TearDown() override {
    if (loop_) loop_->stop();
  }
  RawClient client() const { return RawClient(loop_->port()); }
  json stats() const { return json::parse(client().ask("/stats").body); }
  int control(const std::string& query) const {
    RawClient connection = client();
    connection.send("PUT /control?" + query + " HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    return connection.receive().status;
  }

  std::atomic<bool> stopped_ = false;
  std::unique_ptr<ObjectService> service_;
  std::unique_ptr<AnswerLoop> loop_;
};

class InstantService : public RunningService {
 protected:
  void SetUp() override { start(instant()); }
};

TEST_F(InstantService, EvenIdsAreOnline) {
  RawClient connection = client();
  EXPECT_EQ(connection.ask("/objects/7").body, R"({"id":7,"online":false})");
  EXPECT_EQ(connection.ask("/objects/8").body, R"({"id":8,"online":true})");
  EXPECT_EQ(connection.ask("/objects/-3").body, R"({"id":-3,"online":false})");
  EXPECT_EQ(connection.ask("/objects/+4?x=1").body, R"({"id":4,"online":true})");
  EXPECT_EQ(connection.ask("/objects/%37").body, R"({"id":7,"online":false})");
  EXPECT_EQ(connection.ask("/objects/9223372036854775806").body,
            R"({"id":9223372036854775806,"online":true})");
  EXPECT_EQ(connection.ask("/objects/7").status, 200);
}

TEST_F(InstantService, WhatIsNoIdIs400) {
  RawClient connection = client();
  for (const char* id : {"", "7x", "0x7", "7/", "9223372036854775808", "a%20b"}) {
    const auto answer = connection.ask("/objects/" + std::string(id));
    EXPECT_EQ(answer.status, 400) << id;
    EXPECT_EQ(answer.body, "invalid id\n") << id;
  }
  EXPECT_EQ(connection.ask("/objects/%zz").status, 400);
}

TEST_F(InstantService, BothLoopbackAddressesAnswer) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    EXPECT_EQ(RawClient(loop_->port(), address).ask("/objects/7").status, 200) << address;
  }
}

TEST_F(InstantService, UnknownPathsAndMethodsAreRefused) {
  RawClient connection = client();
  EXPECT_EQ(connection.ask("/objects").status, 404);
  EXPECT_EQ(connection.ask("/").status, 404);
  EXPECT_EQ(connection.ask("/control/stop-sending").status, 405);
  connection.send("POST /objects/7 HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
  const auto answer = connection.receive();
  EXPECT_EQ(answer.status, 405);
  EXPECT_THAT(answer.head, HasSubstr("Allow: GET, HEAD\r\n"));
}

TEST_F(InstantService, HeadHasNoBody) {
  RawClient connection = client();
  connection.send("HEAD /objects/7 HTTP/1.1\r\n\r\n");
  EXPECT_THAT(connection.receive(/*head_only=*/true).head, HasSubstr("Content-Length: 23\r\n"));
  EXPECT_EQ(connection.ask("/objects/7").status, 200);
}

TEST_F(InstantService, ClosesWhenAsked) {
  for (const char* request : {"GET /objects/7 HTTP/1.1\r\nConnection: close\r\n\r\n",
                              "GET /objects/7 HTTP/1.0\r\n\r\n"}) {
    RawClient connection = client();
    connection.send(request);
    EXPECT_THAT(connection.receive().head, HasSubstr("Connection: close"));
    EXPECT_EQ(connection.receive_end(), RawClient::End::kClosed);
  }
}

TEST_F(InstantService, ARequestMayComeByteByByte) {
  RawClient connection = client();
  const std::string request = "GET /objects/7 HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const char byte : request) connection.send({&byte, 1});
  EXPECT_EQ(connection.receive().body, R"({"id":7,"online":false})");
}

TEST_F(InstantService, WhatIsNoHttpIsRefusedReadably) {
  RawClient connection = client();
  connection.send("\x16\x03\x01 hello\r\n\r\n" + std::string(200'000, 'x'));
  EXPECT_EQ(connection.receive().status, 400);
  EXPECT_EQ(connection.receive_end(), RawClient::End::kClosed);
}

TEST_F(InstantService, FloodOfPipelinedRequestsIsAnsweredInOrder) {
  constexpr int kRequests = 50'000;
  RawClient connection = client();
  const auto writer = std::async(std::launch::async, [&] {
    std::string requests;
    for (int id = 0; id < kRequests; ++id) {
      requests += "GET /objects/" + std::to_string(id) + " HTTP/1.1\r\n\r\n";
    }
    connection.send(requests);
  });
  int wrong = 0;
  for (int id = 0; id < kRequests; ++id) {
    if (json::parse(connection.receive().body)["id"] != id) ++wrong;
  }
  writer.wait();
  EXPECT_EQ(wrong, 0);
}

TEST_F(InstantService, StatsCountAnswersByStatus) {
  RawClient connection = client();
  connection.ask("/objects/7");
  connection.ask("/objects/7");
  connection.ask("/objects/x");
  const json objects = stats()["objects"];
  EXPECT_EQ(objects["answered"], 3);
  EXPECT_EQ(objects["by_status"], (json{{"200", 2}, {"400", 1}}));
  EXPECT_EQ(objects["most_at_once"], 1);
  EXPECT_EQ(objects["in_flight"], 0);
}

TEST_F(InstantService, PortInUseIsBadConfig) {
  try {
    const AnswerLoop second("localhost", loop_->port(), *service_);
    FAIL() << "took a port that is in use";
  } catch (const BadConfig& error) {
    EXPECT_THAT(error.what(), HasSubstr("OBJECTS_PORT " + std::to_string(loop_->port())));
    EXPECT_THAT(error.what(), HasSubstr("in use"));
  }
}

TEST_F(InstantService, HostThatIsNotThisMachineIsBadConfig) {
  for (const char* host : {"no.such.host.invalid", "192.0.2.1"}) {
    try {
      const AnswerLoop other(host, 0, *service_);
      FAIL() << "listens on " << host;
    } catch (const BadConfig& error) {
      EXPECT_THAT(error.what(), HasSubstr("OBJECTS_HOST " + std::string(host)));
    }
  }
}

TEST_F(InstantService, StopIsIdempotentAndEndsConnections) {
  RawClient idle = client();
  idle.ask("/objects/7");
  loop_->stop();
  loop_->stop();
  EXPECT_EQ(idle.receive_end(), RawClient::End::kClosed);
}

// --- Latency

TEST_F(RunningService, LatencyIsWithinItsRange) {
  ObjectBehaviour behaviour;
  behaviour.latency_min = Millis(50);
  behaviour.latency_max = Millis(150);
  start(behaviour);
  constexpr int kRequests = 200;
  std::chrono::duration<double, std::milli> soonest = milliseconds::max();
  // A machine that stalls delays all of them, but not each time.
  for (int round = 0; round < 3 && soonest >= milliseconds(83) + milliseconds(50); ++round) {
    std::vector<RawClient> clients;
    for (int i = 0; i < kRequests; ++i) clients.push_back(client());
    std::vector<std::chrono::duration<double, std::milli>> latencies(kRequests);
    std::vector<std::thread> threads;
    for (int i = 0; i < kRequests; ++i) {
      threads.emplace_back([&, i] {
        const auto began = std::chrono::steady_clock::now();
        clients[static_cast<size_t>(i)].ask("/objects/7");
        latencies[static_cast<size_t>(i)] = std::chrono::steady_clock::now() - began;
      });
    }
    for (auto& thread : threads) thread.join();
    std::ranges::sort(latencies);
    EXPECT_GE(latencies.front(), milliseconds(50));
    EXPECT_GT(latencies.back(), milliseconds(117));
    soonest = latencies.front();
  }
  // Spread over the range, not all at one end of it: 200 of them leave the outer thirds empty with
  // a probability under 1e-35.
  EXPECT_LT(soonest, milliseconds(83) + milliseconds(50));
}

TEST_F(RunningService, LatencyOfFixedTimeIsExactAndNotEarly) {
  ObjectBehaviour behaviour;
  behaviour.latency_min = behaviour.latency_max = Millis(120);
  start(behaviour);
  RawClient connection = client();
  for (const char* path : {"/objects/7", "/objects/x"}) {
    const auto began = std::chrono::steady_clock::now();
    connection.ask(path);
    EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(120));
  }
}

TEST_F(RunningService, PipelinedRequestsWaitForEachOther) {
  ObjectBehaviour behaviour;
  behaviour.latency_min = behaviour.latency_max = Millis(30);
  start(behaviour);
  RawClient connection = client();
  const auto began = std::chrono::steady_clock::now();
  for (int id = 0; id < 4; ++id) connection.get("/objects/" + std::to_string(id));
  for (int id = 0; id < 4; ++id) EXPECT_EQ(json::parse(connection.receive().body)["id"], id);
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(120));
  EXPECT_EQ(stats()["objects"]["most_at_once"], 1);
}

TEST_F(RunningService, ClientThatLeavesWhileItWaitsIsForgotten) {
  ObjectBehaviour behaviour;
  behaviour.latency_min = behaviour.latency_max = std::chrono::minutes(10);
  start(behaviour);
  {
    RawClient connection = client();
    connection.get("/objects/7");
    ASSERT_TRUE(eventually([&] { return stats()["objects"]["in_flight"] == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return stats()["objects"]["abandoned"] == 1; }));
  EXPECT_EQ(stats()["objects"]["in_flight"], 0);
}

// --- Failures

TEST_F(InstantService, FailsWithTheStatusAskedFor) {
  RawClient connection = client();
  for (const int status : {301, 401, 404, 410, 500, 599}) {
    ASSERT_EQ(control("failure_rate=1&failure_kind=" + std::to_string(status)), 200);
    const auto answer = connection.ask("/objects/7");
    EXPECT_EQ(answer.status, status);
    EXPECT_THAT(answer.head, Not(HasSubstr("Retry-After")));
  }
}

TEST_F(InstantService, TooManyRequestsSaysWhenToComeAgain) {
  ASSERT_EQ(control("failure_rate=1&failure_kind=429&retry_after=17"), 200);
  const auto answer = client().ask("/objects/7");
  EXPECT_EQ(answer.status, 429);
  EXPECT_THAT(answer.head, HasSubstr("Retry-After: 17\r\n"));
}

TEST_F(InstantService, HangingRequestsAreNeverAnswered) {
  ASSERT_EQ(control("failure_kind=hang&failure_rate=1"), 200);
  RawClient hanging = client();
  hanging.get("/objects/7");
  ASSERT_TRUE(eventually([&] { return stats()["objects"]["in_flight"] == 1; }));
  // Healing is for those that come from now on.
  ASSERT_EQ(control("failure_rate=0"), 200);
  EXPECT_EQ(client().ask("/objects/7").status, 200);
  EXPECT_TRUE(hanging.silent_for(milliseconds(200)));
}

TEST_F(InstantService, GarbageNeverReadsAsAnAnswer) {
  ASSERT_EQ(control("failure_kind=garbage&failure_rate=1"), 200);
  std::set<std::string> forms;
  for (int i = 0; i < 16; ++i) {
    RawClient connection = client();
    connection.send("GET /objects/7 HTTP/1.1\r\nConnection: close\r\n\r\n");
    std::string bytes;
    ASSERT_EQ(connection.receive_end(&bytes), RawClient::End::kClosed);
    forms.insert(bytes);
    const size_t head_end = bytes.find("\r\n\r\n");
    if (!bytes.starts_with("HTTP/1.1 200 ")) continue;
    const json body = json::parse(bytes.substr(head_end + 4), nullptr, /*allow_exceptions=*/false);
    const bool right = body.is_object() && body.contains("id") && body["id"] == 7 &&
                       body.contains("online") && body["online"].is_boolean();
    EXPECT_FALSE(right) << bytes;
  }
  EXPECT_EQ(forms.size(), 8u);
}

TEST_F(InstantService, RefusedConnectionsAreReset) {
  ASSERT_EQ(control("failure_kind=refuse&failure_rate=1"), 200);
  RawClient connection = client();
  connection.get("/objects/7");
  EXPECT_EQ(connection.receive_end(), RawClient::End::kReset);
  EXPECT_EQ(stats()["objects"]["refused"], 1);
  ASSERT_EQ(control("failure_rate=0"), 200);
  EXPECT_EQ(client().ask("/objects/7").status, 200);
}

TEST_F(InstantService, OnlyFailIdsFail) {
  ASSERT_EQ(control("failure_kind=500&failure_rate=1&fail_ids=7"), 200);
  RawClient connection = client();
  EXPECT_EQ(connection.ask("/objects/7").status, 500);
  EXPECT_EQ(connection.ask("/objects/8").status, 200);
  ASSERT_EQ(control("fail_ids="), 200);
  EXPECT_EQ(connection.ask("/objects/8").status, 500);
}

TEST_F(InstantService, FailureRateIsAShare) {
  ASSERT_EQ(control("failure_rate=0.25"), 200);
  RawClient connection = client();
  int failed = 0;
  for (int i = 0; i < 2000; ++i) failed += connection.ask("/objects/7").status == 500 ? 1 : 0;
  // Five standard deviations (19.4) around 500.
  EXPECT_GT(failed, 400);
  EXPECT_LT(failed, 600);
}

TEST_F(RunningService, FailuresTakeTheirTimeToo) {
  ObjectBehaviour behaviour;
  behaviour.latency_min = behaviour.latency_max = Millis(80);
  behaviour.failure_rate = 1;
  start(behaviour);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(client().ask("/objects/7").status, 500);
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(80));
}

// --- Flipping

TEST(ObjectBehaviour, FlipsEveryObjectInEveryOtherSpan) {
  ObjectBehaviour behaviour;
  EXPECT_TRUE(behaviour.online(8, from_unix_millis(1500)));
  behaviour.flip_every = Millis(1000);
  for (const int64_t id : {8, -8, 0}) {
    EXPECT_TRUE(behaviour.online(id, from_unix_millis(0))) << id;
    EXPECT_TRUE(behaviour.online(id, from_unix_millis(999))) << id;
    EXPECT_FALSE(behaviour.online(id, from_unix_millis(1000))) << id;
    EXPECT_FALSE(behaviour.online(id, from_unix_millis(1999))) << id;
    EXPECT_TRUE(behaviour.online(id, from_unix_millis(2000))) << id;
  }
  EXPECT_FALSE(behaviour.online(7, from_unix_millis(999)));
  EXPECT_TRUE(behaviour.online(7, from_unix_millis(1000)));
}

// Each answer takes as long as the opposite takes to become true again.
TEST_F(RunningService, WhatIsAnsweredIsDecidedWhenTheRequestArrives) {
  ObjectBehaviour behaviour;
  behaviour.latency_min = behaviour.latency_max = behaviour.flip_every = Millis(200);
  start(behaviour);
  RawClient connection = client();
  std::set<bool> answers;
  EXPECT_TRUE(eventually([&] {
    const auto asked_after = unix_now();
    const bool online = json::parse(connection.ask("/objects/7").body)["online"];
    const auto asked_before = unix_now() - behaviour.latency_min;
    // Between the two the object may have flipped.
    if (behaviour.online(7, asked_after) == behaviour.online(7, asked_before) &&
        asked_before - asked_after < behaviour.flip_every) {
      EXPECT_EQ(online, behaviour.online(7, asked_after));
      answers.insert(online);
    }
    return answers.size() == 2;
  }));
}

// --- Control

TEST_F(InstantService, ControlShowsAndChangesTheBehaviour) {
  json state = json::parse(client().ask("/control").body);
  EXPECT_EQ(state["failure_rate"], nullptr);
  EXPECT_EQ(state["flip_every"], "0ms");
  EXPECT_EQ(state["sending"], true);
  RawClient connection = client();
  connection.send(
      "PUT /control HTTP/1.1\r\nContent-Length: 48\r\n\r\n"
      "failure_kind=429&failure_rate=0.5&fail_ids=9,-7,");
  EXPECT_EQ(connection.receive().status, 400);
  connection.send(
      "PUT /control HTTP/1.1\r\nContent-Length: 47\r\n\r\n"
      "failure_kind=429&failure_rate=0.5&fail_ids=9,-7");
  state = json::parse(connection.receive().body);
  EXPECT_EQ(state["failure_kind"], "429");
  EXPECT_EQ(state["failure_rate"], 0.5);
  EXPECT_EQ(state["fail_ids"], (json{-7, 9}));
  EXPECT_EQ(state, json::parse(client().ask("/control").body));
}

TEST_F(InstantService, ControlMakesObjectsFlip) {
  ASSERT_EQ(control("flip_every=1ms"), 200);
  RawClient connection = client();
  for (const bool online : {true, false}) {
    EXPECT_TRUE(eventually([&] {
      return json::parse(connection.ask("/objects/7").body)["online"] == online;
    })) << online;
  }
  ASSERT_EQ(control("flip_every="), 200);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(connection.ask("/objects/7").body, R"({"id":7,"online":false})");
  }
}

TEST_F(InstantService, ControlChangesNothingWhenAnythingIsWrong) {
  const std::string before = client().ask("/control").body;
  EXPECT_EQ(control("failure_rate=1&failure_kind=nonsense"), 400);
  EXPECT_EQ(control("failure_rate=1&no_such_setting=1"), 400);
  EXPECT_EQ(control("latency_min=2s"), 400);
  EXPECT_EQ(client().ask("/control").body, before);
}

TEST_F(InstantService, StopSendingStopsTheSender) {
  RawClient connection = client();
  connection.send("POST /control/stop-sending HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(json::parse(connection.receive().body)["sending"], false);
  EXPECT_TRUE(stopped_);
}

}  // namespace
}  // namespace postoffice::tester
