#include "server/callback_handler.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>

#include "tests/base/raw_connection.h"
#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"

namespace postoffice {
namespace {

class CallbackHandlerTest : public testing::Test {
 protected:
  // By default longer than any test.
  explicit CallbackHandlerTest(Millis deadline = Millis(60'000))
      : intake_({.deadline = deadline}, publisher_, outbox_, metrics_) {
    publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
    handler_.add_routes(server_);
    intake_.start();
    server_.start();
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_.port());
  }
  ~CallbackHandlerTest() override {
    // Else stop() waits for what is held until the deadline.
    publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
    publisher_.settle_held(PublishOutcome::kConfirmed);
    intake_.stop();
  }

  struct Answer {
    int status = 0;
    std::string body;
    std::string retry_after;
  };
  Answer post(const std::string& body, const char* content_type = "application/json") {
    const auto answer = client_->Post("/callback", body, content_type);
    if (!answer) return {};
    return {answer->status, answer->body, answer->get_header_value("Retry-After")};
  }
  double metric(const std::string& line) const {
    const std::string text = metrics_.text();
    const auto at = text.find("\n" + line + " ");
    return at == std::string::npos ? 0 : std::stod(text.substr(at + line.size() + 2));
  }

  Metrics metrics_;
  ScriptedPublisher publisher_;
  MemoryOutbox outbox_;
  Intake intake_;
  CallbackHandler handler_{{.max_ids = 100}, intake_, metrics_};
  HttpServer server_{HttpServer::Options{.threads = 4, .max_body_bytes = 20'000}};
  std::unique_ptr<httplib::Client> client_;
};

// Where the broker does not answer in time.
class CallbackDeadlineTest : public CallbackHandlerTest {
 protected:
  CallbackDeadlineTest() : CallbackHandlerTest(Millis(100)) {}
};

TEST_F(CallbackHandlerTest, AnswersWhenTheBrokerHasConfirmed) {
  const UnixTime before = unix_now();
  const auto answer = post(R"({"object_ids":[7,8,7]})");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, R"({"accepted":3})");
  ASSERT_EQ(publisher_.confirmed().size(), 1u);
  const std::string line = publisher_.confirmed()[0];
  EXPECT_NE(line.find(R"("object_ids":[7,8,7]})"), std::string::npos) << line;
  const int64_t received_at = std::stoll(line.substr(line.find(':') + 1));
  EXPECT_GE(received_at, to_unix_millis(before));
  EXPECT_LE(received_at, to_unix_millis(unix_now()));
  EXPECT_EQ(metric("postoffice_callbacks_accepted_total{via=\"broker\"}"), 1);
  EXPECT_EQ(metric("postoffice_object_ids_accepted_total"), 3);
  EXPECT_EQ(metric("postoffice_callback_seconds_count"), 1);
}

// Those that are not plain wait behind what holds the threads.
TEST_F(CallbackHandlerTest, APlainCallbackNeedsNoThread) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  CallbackHandler handler({}, intake_, metrics_);
  HttpServer server(HttpServer::Options{.threads = 1});
  handler.add_routes(server);
  std::promise<void> held;
  server.routes().Get("/hold", [&](const httplib::Request&, httplib::Response&) {
    held.set_value();
    released.wait();
  });
  server.start();
  RawConnection holding(server.port());
  holding.send("GET /hold HTTP/1.1\r\n\r\n");
  held.get_future().wait();
  RawConnection plain(server.port());
  plain.send("POST /callback HTTP/1.1\r\nContent-Length: 18\r\n\r\n{\"object_ids\":[7]}");
  const auto answer = plain.receive();
  release.set_value();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 202);
  EXPECT_EQ(answer->body, R"({"accepted":1})");
}

// A disk that hangs answers neither; the callback is not waited for without end.
TEST_F(CallbackHandlerTest, APlainCallbackIsRefusedWhenNothingAnswers) {
  publisher_.set_available(false);
  outbox_.stall(true);
  CallbackHandler handler({.wait = Millis(300)}, intake_, metrics_);
  HttpServer server(HttpServer::Options{.threads = 1});
  handler.add_routes(server);
  server.start();
  RawConnection plain(server.port());
  plain.send("POST /callback HTTP/1.1\r\nContent-Length: 18\r\n\r\n{\"object_ids\":[7]}");
  const auto answer = plain.receive();
  outbox_.stall(false);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
  EXPECT_NE(answer->head.find("Retry-After: 1"), std::string::npos);
  intake_.stop();
}

TEST_F(CallbackHandlerTest, WaitsForTheConfirm) {
  publisher_.set_script(ScriptedPublisher::hold());
  auto answer = std::async(std::launch::async, [this] { return post(R"({"object_ids":[7]})"); });
  ASSERT_TRUE(publisher_.wait_for_held(1));
  EXPECT_EQ(answer.wait_for(Millis(20)), std::future_status::timeout);
  publisher_.settle_held(PublishOutcome::kConfirmed);
  EXPECT_EQ(answer.get().status, 202);
}

TEST_F(CallbackDeadlineTest, ABrokerThatHangsIsReplacedByTheOutbox) {
  publisher_.set_script(ScriptedPublisher::hold());
  EXPECT_EQ(post(R"({"object_ids":[7]})").status, 202);
  EXPECT_EQ(outbox_.bodies().size(), 1u);
  EXPECT_EQ(metric("postoffice_callbacks_accepted_total{via=\"outbox\"}"), 1);
}

// The broker meets its deadline, but the threads are too few for what comes.
TEST_F(CallbackDeadlineTest, TimeSpentWaitingForAThreadCountsForTheDeadline) {
  Metrics metrics;
  CallbackHandler handler({.max_ids = 100}, intake_, metrics);
  HttpServer server(HttpServer::Options{.threads = 1});
  handler.add_routes(server);
  std::promise<void> held;
  std::promise<void> release;
  server.routes().Get("/hold", [&](const httplib::Request&, httplib::Response&) {
    held.set_value();
    release.get_future().wait();
  });
  server.start();
  RawConnection holding(server.port());
  holding.send("GET /hold HTTP/1.1\r\n\r\n");
  held.get_future().wait();
  const std::string body = R"({"object_ids":[7]})";
  RawConnection waiting(server.port());
  waiting.send("POST /callback HTTP/1.1\r\nConnection: keep-alive, x\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body);
  std::this_thread::sleep_for(Millis(300));  // Far longer than the deadline.
  release.set_value();
  const auto answer = waiting.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 202);
  const std::string text = metrics.text();
  EXPECT_NE(text.find("postoffice_callbacks_accepted_total{via=\"outbox\"} 1"), std::string::npos);
  EXPECT_NE(text.find("postoffice_callback_seconds_bucket{le=\"0.1\"} 0"), std::string::npos);
}

TEST_F(CallbackHandlerTest, RefusesWhenNothingDurableIsLeft) {
  publisher_.set_available(false);
  outbox_.refuse(OutboxRefusal::kFull);
  const auto answer = post(R"({"object_ids":[7]})");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.retry_after, "1");
  EXPECT_EQ(metric("postoffice_callbacks_refused_total{reason=\"unavailable\"}"), 1);
}

TEST_F(CallbackHandlerTest, ADiskThatHangsDoesNotHoldTheClientForEver) {
  Metrics metrics;
  CallbackHandler impatient({.max_ids = 100, .wait = Millis(200)}, intake_, metrics);
  HttpServer server(HttpServer::Options{.threads = 4});
  impatient.add_routes(server);
  server.start();
  publisher_.set_available(false);
  outbox_.stall(true);
  httplib::Client client("127.0.0.1", server.port());
  const auto answer = client.Post("/callback", R"({"object_ids":[7]})", "application/json");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
  outbox_.stall(false);  // What the intake says now finds nobody waiting.
  EXPECT_TRUE(outbox_.wait_for_entries(1));
}

TEST_F(CallbackHandlerTest, AnEmptyListIsAcceptedWithoutPublishing) {
  publisher_.set_available(false);
  outbox_.refuse(OutboxRefusal::kFailed);
  const auto answer = post(R"({"object_ids":[]})");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, R"({"accepted":0})");
  EXPECT_TRUE(publisher_.published().empty());
}

TEST_F(CallbackHandlerTest, MalformedAndTooLargeAreRefused) {
  const auto malformed = post(R"({"object_ids":[1,"x"]})");
  EXPECT_EQ(malformed.status, 400);
  EXPECT_NE(malformed.body.find("object_ids[1] must be a 64-bit integer"), std::string::npos);
  std::string ids = "1";
  for (int i = 0; i < 100; ++i) ids += ",1";
  const auto many = post("{\"object_ids\":[" + ids + "]}");
  EXPECT_EQ(many.status, 413);
  EXPECT_NE(many.body.find("MAX_CALLBACK_IDS"), std::string::npos);
  EXPECT_EQ(post(std::string(20'001, ' ')).status, 413);
  EXPECT_EQ(metric("postoffice_callbacks_refused_total{reason=\"malformed\"}"), 1);
  EXPECT_EQ(metric("postoffice_callbacks_refused_total{reason=\"too_large\"}"), 1);
  EXPECT_TRUE(publisher_.published().empty());
}

TEST_F(CallbackHandlerTest, ContentTypeIsNotLookedAt) {
  const std::string body = R"({"object_ids":[1]})" + std::string(19'000, ' ');
  for (const char* type : {"application/x-www-form-urlencoded", "multipart/form-data",
                           "multipart/form-data; boundary=b", "text/xml", "nonsense", ""}) {
    EXPECT_EQ(post(body, type).status, 202) << type;
  }
}

TEST_F(CallbackHandlerTest, TakesChunkedBodiesAndExpectContinue) {
  RawConnection connection(server_.port());
  connection.send(
      "POST /callback HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(connection.receive()->status, 100);
  connection.send("8\r\n{\"object\r\n9\r\n_ids\":[1]\r\n1\r\n}\r\n0\r\n\r\n");
  const auto answer = connection.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 202);
}

TEST_F(CallbackHandlerTest, OtherMethodsAreRefused) {
  const auto get = client_->Get("/callback");
  ASSERT_TRUE(get);
  EXPECT_EQ(get->status, 405);
  EXPECT_EQ(get->get_header_value("Allow"), "POST");
  EXPECT_EQ(client_->Head("/callback")->status, 405);
  EXPECT_EQ(client_->Put("/callback", "{}", "application/json")->status, 405);
  EXPECT_EQ(client_->Delete("/callback")->status, 405);
  EXPECT_EQ(client_->Options("/callback")->status, 405);
}

}  // namespace
}  // namespace postoffice
