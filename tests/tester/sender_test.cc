#include "tester/sender.h"

#include <gmock/gmock.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "tests/tester/callback_receiver.h"
#include "tests/tester/eventually.h"

namespace postoffice::tester {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::Pair;

constexpr auto kBurst = std::nullopt;

class SenderTest : public testing::Test {
 protected:
  void start(std::optional<std::chrono::nanoseconds> period, std::optional<int64_t> count,
             Sender::Options options = {}) {
    if (options.url.host.empty()) options.url = parse_url(receiver_.url()).value();
    // Else a busy machine could leave a callback without answer.
    if (options.timeout == Sender::Options().timeout) options.timeout = std::chrono::seconds(30);
    schedule_.emplace(period, count);
    sender_.emplace(options, *schedule_, ids_, nullptr, [this] { ++done_; });
    sender_->start();
  }
  bool done() {
    return eventually([this] { return done_ != 0; });
  }
  void TearDown() override {
    if (sender_) sender_->stop();
  }

  CallbackReceiver receiver_;
  CallbackIds ids_{CallbackIds::Mode::kSequential, INT64_MAX, {3, 3}};
  std::optional<Schedule> schedule_;
  std::atomic<int> done_ = 0;
  std::optional<Sender> sender_;
};

TEST_F(SenderTest, SendsExactlyCountCallbacksOnAllItsConnections) {
  start(kBurst, 500, {.url = {}, .connections = 8});
  ASSERT_TRUE(done());
  sender_->stop();
  EXPECT_EQ(done_, 1);
  EXPECT_FALSE(sender_->sending());
  std::set<int64_t> ids;
  for (const auto& body : receiver_.bodies()) {
    const json callback = json::parse(body);
    for (const int64_t id : callback.at("object_ids")) ids.insert(id);
  }
  EXPECT_EQ(receiver_.bodies().size(), 500u);
  // Distinct ids, one after another, over all connections.
  EXPECT_EQ(ids.size(), 1500u);
  EXPECT_EQ(*ids.rbegin(), 1499);
  const CallbackStats stats = sender_->stats();
  EXPECT_EQ(stats.sent, 500u);
  EXPECT_EQ(stats.ids, 1500u);
  EXPECT_THAT(stats.by_status, ElementsAre(Pair(202, 500)));
  EXPECT_GT(stats.latency_max, stats.latency_p50 / 2);
}

TEST_F(SenderTest, BodyIsTheOriginals) {
  start(kBurst, 1);
  ASSERT_TRUE(done());
  EXPECT_THAT(receiver_.bodies(), ElementsAre(R"({"object_ids":[0,1,2]})"));
}

TEST_F(SenderTest, CountOfNoneSendsNone) {
  start(kBurst, 0);
  ASSERT_TRUE(done());
  EXPECT_EQ(sender_->stats().sent, 0u);
}

TEST_F(SenderTest, ConnectionsBoundWhatIsUnderWay) {
  HttpAnswer slow;
  slow.status = 202;
  slow.delay = milliseconds(20);
  receiver_.answer_with(slow);
  start(kBurst, 60, {.url = {}, .connections = 6});
  ASSERT_TRUE(done());
  EXPECT_EQ(receiver_.most_at_once(), 6u);
}

TEST_F(SenderTest, KeepsTheRate) {
  const auto began = SteadyClock::now();
  start(std::chrono::milliseconds(5), 100, {.url = {}, .connections = 4});
  ASSERT_TRUE(done());
  // The hundredth is due 500 ms after the beginning.
  EXPECT_GE(SteadyClock::now() - began, milliseconds(500));
  EXPECT_EQ(receiver_.bodies().size(), 100u);
}

TEST_F(SenderTest, OtherAnswersAreCountedAndNotResent) {
  receiver_.answer_with_status(503, 3);
  start(kBurst, 10);
  ASSERT_TRUE(done());
  EXPECT_THAT(sender_->stats().by_status, ElementsAre(Pair(202, 7), Pair(503, 3)));
  EXPECT_EQ(receiver_.bodies().size(), 10u);
}

TEST_F(SenderTest, ResendsUntilTakenWhenAskedTo) {
  receiver_.answer_with_status(503, 3);
  start(kBurst, 2, {.url = {}, .resend = true});
  ASSERT_TRUE(done());
  EXPECT_THAT(sender_->stats().by_status, ElementsAre(Pair(202, 2), Pair(503, 3)));
  EXPECT_THAT(receiver_.bodies(),
              ElementsAre(R"({"object_ids":[0,1,2]})", R"({"object_ids":[0,1,2]})",
                          R"({"object_ids":[0,1,2]})", R"({"object_ids":[0,1,2]})",
                          R"({"object_ids":[3,4,5]})"));
}

TEST_F(SenderTest, ResendingEndsWhenStopped) {
  receiver_.answer_with_status(503);
  start(kBurst, 1, {.url = {}, .resend = true});
  ASSERT_TRUE(eventually([&] { return sender_->stats().sent >= 2; }));
  sender_->stop_sending();
  EXPECT_TRUE(done());
}

TEST_F(SenderTest, HangingReceiverIsUnansweredAfterTheTimeout) {
  HttpAnswer hang;
  hang.delivery = HttpAnswer::Delivery::kHang;
  receiver_.answer_with(hang, 1);
  start(kBurst, 2, {.url = {}, .timeout = milliseconds(1500)});
  ASSERT_TRUE(done());
  EXPECT_THAT(sender_->stats().by_status, ElementsAre(Pair(0, 1), Pair(202, 1)));
  EXPECT_GE(sender_->stats().latency_max, milliseconds(1500));
  EXPECT_LT(sender_->stats().latency_max, milliseconds(15000));
}

TEST_F(SenderTest, NobodyThereIsUnanswered) {
  uint16_t port = 0;
  {
    const CallbackReceiver gone;
    port = gone.port();
  }
  Url url = parse_url(receiver_.url()).value();
  url.port = port;
  start(kBurst, 3, {.url = url});
  ASSERT_TRUE(done());
  EXPECT_THAT(sender_->stats().by_status, ElementsAre(Pair(0, 3)));
}

TEST_F(SenderTest, StopSendingEndsAnEndlessSchedule) {
  start(milliseconds(1), std::nullopt, {.url = {}, .connections = 3});
  ASSERT_TRUE(eventually([&] { return sender_->stats().sent >= 10; }));
  EXPECT_TRUE(sender_->sending());
  sender_->stop_sending();
  ASSERT_TRUE(done());
  EXPECT_FALSE(sender_->sending());
  EXPECT_EQ(receiver_.bodies().size(), sender_->stats().sent);
}

TEST_F(SenderTest, StopIsIdempotentAndFineWithoutStart) {
  Schedule schedule(std::chrono::hours(1), std::nullopt);
  Sender sender({.url = parse_url(receiver_.url()).value()}, schedule, ids_, nullptr, [] {});
  sender.stop();
  sender.stop();
}

TEST(DeliveryLog, LogsChangesOfStateOnly) {
  std::ostringstream text;
  const auto before = spdlog::default_logger();
  const auto logger = std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  logger->set_pattern("%v");
  spdlog::set_default_logger(logger);
  DeliveryLog log;
  log.taken();
  log.failed("answered with status 503");
  log.failed("answered with status 503");
  log.taken();  // Too soon after the last failure to be a change.
  log.failed("no connection");
  const auto again = SteadyClock::now() + std::chrono::seconds(1);
  ASSERT_TRUE(eventually([&] { return SteadyClock::now() >= again; }));
  log.taken();
  log.taken();
  spdlog::set_default_logger(before);
  EXPECT_EQ(text.str(),
            "callbacks are not taken: answered with status 503\n"
            "callbacks are taken again; 3 were not\n");
}

}  // namespace
}  // namespace postoffice::tester
