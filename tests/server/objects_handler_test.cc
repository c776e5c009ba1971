#include "server/objects_handler.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "tests/server/fake_database.h"

namespace postoffice {
namespace {

class ObjectsHandlerTest : public testing::Test {
 protected:
  ObjectsHandlerTest() {
    for (int64_t id = 1; id <= 5; ++id) {
      database_.put({.id = id,
                     .online = id % 2 == 0,
                     .last_seen = from_unix_millis(1'795'253'400'000 + id),
                     .checked_at = {}});
    }
    handler_.add_routes(server_);
    server_.start();
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_.port());
  }

  std::string body(const std::string& path, int status = 200) {
    const auto answer = client_->Get(path);
    if (!answer) return "no answer";
    EXPECT_EQ(answer->status, status) << path << ": " << answer->body;
    return answer->body;
  }
  static std::string object(int64_t id) {
    return "{\"id\":" + std::to_string(id) + ",\"online\":" + (id % 2 == 0 ? "true" : "false") +
           ",\"last_seen\":\"2026-11-21T09:30:00.00" + std::to_string(id) + "Z\"}";
  }
  void expect_mistakes(const std::string& path, const std::vector<std::string>& mistakes) {
    const std::string problem = body(path, 400);
    for (const auto& mistake : mistakes) {
      EXPECT_NE(problem.find(mistake), std::string::npos) << path << ": " << problem;
    }
  }

  FakeDatabase database_;
  ObjectsHandler handler_{{.stores = 2, .wait = Millis(100)}, database_.stores()};
  HttpServer server_{HttpServer::Options{.threads = 8}};
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(ObjectsHandlerTest, FindsOneObject) {
  EXPECT_EQ(body("/objects/2"), object(2));
  EXPECT_NE(body("/objects/9", 404).find("object 9 is not in the table"), std::string::npos);
  expect_mistakes("/objects/abc", {R"(\"abc\" must be a 64-bit integer)"});
  expect_mistakes("/objects/9223372036854775808", {"must be a 64-bit integer"});
  expect_mistakes("/objects/2?x=y", {"no parameters"});
  body("/objects/", 404);
  body("/objects/2/3", 404);
}

TEST_F(ObjectsHandlerTest, ListsByIdInPages) {
  EXPECT_EQ(body("/objects?limit=2"),
            "{\"objects\":[" + object(1) + "," + object(2) + "],\"next\":2}");
  EXPECT_EQ(body("/objects?limit=2&after=2"),
            "{\"objects\":[" + object(3) + "," + object(4) + "],\"next\":4}");
  EXPECT_EQ(body("/objects?limit=2&after=3"),
            "{\"objects\":[" + object(4) + "," + object(5) + "],\"next\":null}");
  EXPECT_EQ(body("/objects?after=5"), R"({"objects":[],"next":null})");
  EXPECT_EQ(body("/objects?online=true"),
            "{\"objects\":[" + object(2) + "," + object(4) + "],\"next\":null}");
  EXPECT_EQ(body("/objects?online=false&limit=1&after=-9"),
            "{\"objects\":[" + object(1) + "],\"next\":1}");
}

TEST_F(ObjectsHandlerTest, ShowsAHundredAtATimeUnlessToldOtherwise) {
  for (int64_t id = 1000; id < 3000; ++id) database_.put({id, false, {}, {}});
  const auto count = [](const std::string& json) {
    size_t objects = 0;
    for (size_t at = 0; (at = json.find("\"id\"", at)) != std::string::npos; ++at) ++objects;
    return objects;
  };
  EXPECT_EQ(count(body("/objects")), 100u);
  EXPECT_EQ(count(body("/objects?limit=1000")), 1000u);
}

TEST_F(ObjectsHandlerTest, NamesEveryMistakeOfTheParameters) {
  expect_mistakes("/objects?limit=0", {"limit must be a whole number, 1 to 1000"});
  expect_mistakes("/objects?limit=1001", {"limit must be"});
  expect_mistakes("/objects?limit=", {"limit must be"});
  expect_mistakes("/objects?limit=1&limit=2", {R"(\"limit\" must be given once)"});
  expect_mistakes("/objects?online=yes&after=1.5&limit=x&color=red&",
                  {"online must be true or false, not \\\"yes\\\"", "after must be a 64-bit",
                   "limit must be", "unknown parameter \\\"color\\\""});
}

TEST_F(ObjectsHandlerTest, OtherMethodsAreRefused) {
  for (const char* path : {"/objects", "/objects/2"}) {
    const auto answer = client_->Delete(path);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 405);
    EXPECT_EQ(answer->get_header_value("Allow"), "GET");
  }
}

TEST_F(ObjectsHandlerTest, WhileTheDatabaseIsAwayTheAnswerIsTryAgain) {
  database_.take_away(true);
  for (const char* path : {"/objects", "/objects/2"}) {
    const auto answer = client_->Get(path);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 503);
    EXPECT_EQ(answer->get_header_value("Retry-After"), "1");
    EXPECT_NE(answer->body.find("the fake database is away"), std::string::npos);
  }
  database_.take_away(false);
  body("/objects/2");
}

TEST_F(ObjectsHandlerTest, AStalledDatabaseHoldsOnlyAsManyRequestsAsThereAreStores) {
  database_.stall(true);
  std::vector<std::jthread> stalled;
  for (int i = 0; i < 2; ++i) {
    stalled.emplace_back([this] {
      httplib::Client client("127.0.0.1", server_.port());
      EXPECT_EQ(client.Get("/objects/2")->status, 200);
    });
  }
  ASSERT_TRUE(database_.wait_until(
      [](const FakeDatabase& database) { return database.stalled_calls == 2; }));
  body("/objects/2", 503);
  database_.stall(false);
  stalled.clear();
  body("/objects/2");
}

}  // namespace
}  // namespace postoffice
