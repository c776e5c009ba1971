#include "server/server.h"

#include <gtest/gtest.h>

#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"
#include "tests/server/fake_database.h"

namespace postoffice {
namespace {

class ServerTest : public testing::Test {
 protected:
  static Server::Options options() {
    Server::Options options;
    options.http.threads = 4;
    options.expiry.process_id = "self";
    options.expiry.interval = Millis(5);
    return options;
  }
  void start() {
    publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
    intake_.start();
    server_.start();
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_.port());
  }
  std::string readiness(int status) {
    const auto answer = client_->Get("/readyz");
    EXPECT_EQ(answer->status, status) << answer->body;
    return answer->body;
  }
  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  FakeDatabase database_;
  Metrics metrics_;
  ScriptedPublisher publisher_;
  MemoryOutbox outbox_;
  QueueMonitor queue_{{}, metrics_};  // Never started: the queue is unknown.
  Intake intake_{{.deadline = Millis(100)}, publisher_, outbox_, metrics_};
  Server server_{options(),
                 intake_,
                 outbox_,
                 queue_,
                 {[this] { return publisher_.available(); }, [] { return "scripted"; }},
                 database_.stores(),
                 metrics_};
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(ServerTest, AnswersEveryRoute) {
  start();
  EXPECT_EQ(client_->Post("/callback", R"({"object_ids":[7]})", "application/json")->status, 202);
  EXPECT_EQ(client_->Get("/objects")->status, 200);
  EXPECT_EQ(client_->Get("/objects/7")->status, 404);
  EXPECT_EQ(client_->Get("/healthz")->status, 200);
  EXPECT_TRUE(contains(client_->Get("/metrics")->body, "postoffice_callbacks_accepted_total"));
}

TEST_F(ServerTest, IsReadyWhileEitherBrokerOrOutboxTakesCallbacks) {
  start();
  EXPECT_TRUE(contains(readiness(200), R"({"name":"broker","ok":true,"detail":"scripted"})"));
  publisher_.set_available(false);
  EXPECT_TRUE(contains(readiness(200), R"({"name":"broker","ok":false)"));
  outbox_.refuse(OutboxRefusal::kFull);
  EXPECT_TRUE(contains(readiness(503), "full"));
  publisher_.set_available(true);
  EXPECT_TRUE(contains(readiness(200), R"({"name":"outbox","ok":false)"));
}

TEST_F(ServerTest, IsReadyWithoutTheDatabase) {
  database_.take_away(true);
  start();
  ASSERT_TRUE(
      database_.wait_until([](const FakeDatabase& database) { return database.calls > 2; }));
  EXPECT_TRUE(contains(readiness(200), "the fake database is away"));
}

TEST_F(ServerTest, StopsHttpFirstAndReportsLast) {
  start();
  ASSERT_TRUE(database_.wait_until(
      [](const FakeDatabase& database) { return database.reports.contains("self"); }));
  server_.stop_http(SteadyClock::now() + std::chrono::seconds(5));
  EXPECT_FALSE(client_->Get("/healthz"));
  intake_.stop();
  server_.stop_expiry();
  server_.stop_expiry();
  EXPECT_TRUE(database_.wait_until([](const FakeDatabase& database) {
    const auto report = database.reports.find("self");
    return report != database.reports.end() && report->second.stopped;
  }));
}

}  // namespace
}  // namespace postoffice
