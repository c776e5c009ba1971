#include "server/watermark.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace postoffice {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr Millis kUnderWay{100};

// A made-up system whose clock moves in steps of half a second, as expiry looks at it. Live workers
// report and the queue is read once a second.
class WatermarkTest : public testing::Test {
 protected:
  struct Process {
    WatermarkReport report;
    bool reports = true;
  };

  void worker(const std::string& name, std::optional<UnixTime> oldest = std::nullopt) {
    const bool is_new = !processes_.contains(name);
    auto& process = processes_[name];
    process.reports = true;
    if (is_new) process.report.reported_at = now_;
    process.report.process = name;
    process.report.role = WatermarkReport::Role::kWorker;
    process.report.oldest = oldest;
  }
  void server(const std::string& name, std::optional<UnixTime> oldest = std::nullopt) {
    worker(name, oldest);
    processes_[name].report.role = WatermarkReport::Role::kServer;
  }
  void vanishes(const std::string& name) { processes_.at(name).reports = false; }
  void stops(const std::string& name, std::optional<UnixTime> oldest = std::nullopt) {
    auto& process = processes_.at(name);
    process.report.oldest = oldest;
    process.report.stopped = true;
    process.report.reported_at = now_;
    process.reports = false;
  }
  void queue(uint32_t messages, uint32_t consumers) {
    messages_ = messages;
    consumers_ = consumers;
    queue_known_ = true;
  }

  // Half a second goes by; true when something was forgotten.
  void step() {
    now_ += Millis(500);
    steady_now_ += Millis(500);
    ++steps_;
    if (steps_ % 2 == 0) {
      for (auto& [name, process] : processes_) {
        if (process.reports) process.report.reported_at = now_ - Millis(10);
      }
    } else if (queue_known_) {
      reading_ = QueueReading{.messages = messages_,
                              .consumers = consumers_,
                              .asked_at = steady_now_ - Millis(5),
                              .number = ++readings_};
    }
    if (!queue_known_) reading_.reset();

    Watermark::Observation seen{.now = now_,
                                .steady_now = steady_now_,
                                .own_process = "self",
                                .own_oldest = own_oldest_,
                                .reports = {},
                                .queue = reading_};
    for (const auto& [name, process] : processes_) seen.reports.push_back(process.report);
    decision_ = watermark_.observe(seen);
    for (const auto& process : decision_.forget) {
      processes_.erase(process);
      forgotten_.push_back(process);
    }
    warnings_ += decision_.warnings.size();
    drained_ += decision_.drained_again ? 1 : 0;
  }
  void run(Millis time) {
    for (Millis passed{0}; passed < time; passed += Millis(500)) step();
  }
  bool is_forgotten(const std::string& name) const {
    return std::ranges::find(forgotten_, name) != forgotten_.end();
  }
  std::optional<UnixTime> mark() const { return decision_.watermark; }
  // How far it is behind the clock.
  Millis lag() const { return mark() ? now_ - *mark() : Millis::max(); }
  // It follows the clock as closely as reports come.
  bool follows() const { return lag() <= Millis(1000) + kUnderWay; }

  UnixTime now_ = from_unix_millis(1'800'000'000'000);
  SteadyClock::time_point steady_now_{seconds(1000)};
  std::optional<UnixTime> own_oldest_;
  std::map<std::string, Process> processes_;
  bool queue_known_ = false;
  uint32_t messages_ = 0;
  uint32_t consumers_ = 0;
  std::optional<QueueReading> reading_;
  uint64_t readings_ = 0;
  int steps_ = 0;
  Watermark watermark_;
  Watermark::Decision decision_;
  std::vector<std::string> forgotten_;
  size_t warnings_ = 0;
  int drained_ = 0;
};

TEST_F(WatermarkTest, ANewSystemWithNothingInItNeedsNoReport) {
  queue(0, 0);
  step();
  EXPECT_FALSE(mark());  // One reading proves nothing.
  run(seconds(3));
  EXPECT_LE(lag(), Millis(1000) + kUnderWay);
}

TEST_F(WatermarkTest, IsUnknownWhileTheQueueIs) {
  run(seconds(10));
  EXPECT_FALSE(mark());
  worker("w");
  run(seconds(10));
  EXPECT_FALSE(mark());
}

TEST_F(WatermarkTest, IsUnknownWhileMessagesWaitAndNobodyWorks) {
  queue(5, 0);
  run(seconds(10));
  EXPECT_FALSE(mark());
  queue(0, 1);  // Somebody has taken them who has not reported yet.
  run(seconds(10));
  EXPECT_FALSE(mark());
}

TEST_F(WatermarkTest, FollowsTheClockWhileIdle) {
  worker("w");
  queue(0, 1);
  run(seconds(5));
  for (int i = 0; i < 20; ++i) {
    step();
    EXPECT_TRUE(follows()) << lag().count();
  }
}

TEST_F(WatermarkTest, IsTheOldestCallbackThatAnyProcessHolds) {
  queue(0, 2);
  worker("a", now_ - seconds(7));
  worker("b", now_ - seconds(9));
  server("s", now_ - seconds(8));
  const UnixTime held = now_ - seconds(9);
  run(seconds(3));
  EXPECT_EQ(mark(), held);
  worker("b");
  run(seconds(2));
  EXPECT_EQ(mark(), held + seconds(1));  // The other server's outbox.
  server("s");
  own_oldest_ = held + seconds(1) + Millis(500);
  run(seconds(2));
  EXPECT_EQ(mark(), *own_oldest_);
}

TEST_F(WatermarkTest, ABacklogIsAsOldAsWhatWorkersHoldOfIt) {
  queue(1000, 1);
  const UnixTime held = now_ - minutes(3);
  worker("w", held);
  run(seconds(30));
  EXPECT_EQ(mark(), held);
  worker("w", held + minutes(1));
  run(seconds(2));
  EXPECT_EQ(mark(), held + minutes(1));
}

TEST_F(WatermarkTest, StaysWhereItIsWhileMessagesWaitAndWorkersHoldNothing) {
  worker("w");
  queue(0, 1);
  run(seconds(5));
  ASSERT_TRUE(follows());
  queue(50, 0);  // The worker has paused consuming.
  step();
  step();
  const auto before = mark();
  run(seconds(20));
  EXPECT_EQ(mark(), before);
}

TEST_F(WatermarkTest, AWorkerThatStartsOnABacklogIsNotTakenForIdle) {
  queue(50, 0);
  run(seconds(5));
  // It has taken everything, but its report is older than that.
  worker("w");
  queue(0, 1);
  step();
  step();
  EXPECT_FALSE(mark());
  const UnixTime held = now_ - seconds(60);
  worker("w", held);
  run(seconds(5));
  EXPECT_EQ(mark(), held);
}

TEST_F(WatermarkTest, AFalseEmptyReadingProvesNothing) {
  worker("w");
  queue(50, 1);
  run(seconds(5));
  queue(0, 0);  // What RabbitMQ says after an internal timeout.
  run(seconds(10));
  EXPECT_FALSE(mark());
  EXPECT_EQ(drained_, 0);
}

TEST_F(WatermarkTest, OneEmptyReadingBetweenOthersProvesNothing) {
  worker("w");
  for (int i = 0; i < 10; ++i) {
    queue(50, 1);
    run(seconds(1));
    queue(0, 1);
    run(seconds(1));
  }
  EXPECT_FALSE(mark());
}

TEST_F(WatermarkTest, OneNonEmptyReadingHoldsItOnlyForThatReading) {
  worker("w");
  queue(0, 1);
  run(seconds(5));
  queue(1, 1);
  run(seconds(1));
  const auto held = mark();
  queue(0, 1);
  run(seconds(1));
  EXPECT_GT(mark(), held);
  EXPECT_TRUE(follows());
}

TEST_F(WatermarkTest, StaysWhereItIsWhileTheBrokerIsAway) {
  worker("w");
  queue(0, 1);
  run(seconds(5));
  const auto before = mark();
  queue_known_ = false;
  run(seconds(60));
  EXPECT_EQ(mark(), before);
  queue(0, 1);
  run(seconds(5));
  EXPECT_TRUE(follows());
}

TEST_F(WatermarkTest, AWorkerThatVanishedIdleKeepsWhatCameAfterItsReport) {
  worker("w");
  queue(0, 1);
  run(seconds(5));
  vanishes("w");
  const UnixTime reported_at = processes_.at("w").report.reported_at;
  queue(3, 0);
  run(minutes(2));
  EXPECT_LE(*mark(), reported_at);
  // Another worker processes the backlog; then its reports tell all.
  worker("w2", reported_at + seconds(1));
  queue(0, 1);
  run(seconds(1));
  EXPECT_LE(*mark(), reported_at + seconds(1));
  worker("w2");
  run(seconds(10));
  EXPECT_TRUE(is_forgotten("w"));
  EXPECT_TRUE(follows());
  EXPECT_EQ(warnings_, 0u);
}

TEST_F(WatermarkTest, AVanishedWorkerCountsUntilTheBrokerMustHaveNoticed) {
  const UnixTime held = now_ - seconds(3);
  worker("w", held);
  worker("other");
  queue(0, 2);
  run(seconds(2));
  vanishes("w");
  run(seconds(29));  // RabbitMQ may still believe that it will acknowledge.
  EXPECT_FALSE(is_forgotten("w"));
  EXPECT_EQ(mark(), held);
  run(seconds(6));
  EXPECT_TRUE(is_forgotten("w"));
  EXPECT_TRUE(follows());
  EXPECT_EQ(warnings_, 0u);
}

TEST_F(WatermarkTest, WhatAVanishedWorkerHeldIsWaitedForWhileOthersWorkOnIt) {
  const UnixTime held = now_ - seconds(3);
  worker("w", held);
  worker("other");
  queue(0, 2);
  run(seconds(2));
  vanishes("w");
  queue(2, 1);
  run(seconds(45));
  EXPECT_EQ(mark(), held);
  worker("other", held);  // It has been given them.
  queue(0, 1);
  run(seconds(10));
  EXPECT_EQ(mark(), held);
  worker("other");
  run(seconds(2));
  EXPECT_TRUE(follows());
}

TEST_F(WatermarkTest, AWorkerThatStoppedWithNothingIsForgottenAtOnce) {
  worker("w");
  queue(0, 1);
  run(seconds(5));
  stops("w");
  queue(0, 0);
  run(seconds(3));
  EXPECT_TRUE(is_forgotten("w"));
  EXPECT_LE(lag(), Millis(1000) + kUnderWay);  // Although nobody works any more.
}

TEST_F(WatermarkTest, AWorkerThatStoppedGaveItsCallbacksBack) {
  const UnixTime held = now_ - seconds(3);
  worker("w", held);
  worker("other");
  queue(0, 2);
  run(seconds(3));
  stops("w", held);
  queue(0, 1);
  step();
  EXPECT_EQ(mark(), held);
  run(seconds(8));
  EXPECT_TRUE(is_forgotten("w"));
  EXPECT_TRUE(follows());
}

TEST_F(WatermarkTest, AVanishedWorkerIsForgottenAfterTenMinutesWithAWarning) {
  const UnixTime held = now_;
  worker("w", held);
  queue(5, 1);
  run(seconds(2));
  vanishes("w");
  queue(5, 0);
  run(minutes(9) + seconds(55));
  EXPECT_EQ(mark(), held);
  EXPECT_EQ(warnings_, 0u);
  run(seconds(10));
  EXPECT_TRUE(is_forgotten("w"));
  EXPECT_EQ(warnings_, 1u);
  EXPECT_EQ(mark(), held);  // Messages wait and nobody works.
}

TEST_F(WatermarkTest, AVanishedServerCountsWhileItHasAnOutbox) {
  worker("w");
  server("idle");
  const UnixTime held = now_ - seconds(5);
  server("full", held);
  queue(0, 1);
  run(seconds(5));
  vanishes("idle");
  vanishes("full");
  run(seconds(10));
  EXPECT_TRUE(is_forgotten("idle"));
  EXPECT_EQ(mark(), held);
  run(minutes(9));
  EXPECT_FALSE(is_forgotten("full"));  // Draining the queue proves nothing about its outbox.
  EXPECT_EQ(mark(), held);
  run(minutes(1));
  EXPECT_TRUE(is_forgotten("full"));
  EXPECT_EQ(warnings_, 1u);
  EXPECT_TRUE(follows());
}

TEST_F(WatermarkTest, TheOwnReportOfAnEarlierRunDoesNotCount) {
  worker("w");
  server("self", now_ - minutes(1));
  vanishes("self");
  queue(0, 1);
  run(seconds(5));
  EXPECT_TRUE(follows());
  EXPECT_FALSE(is_forgotten("self"));
}

TEST_F(WatermarkTest, SaysEachTimeThatTheQueueWasDrained) {
  worker("w");
  queue(0, 1);
  run(seconds(20));
  const int before = drained_;
  EXPECT_GE(before, 4);
  queue(1, 1);
  run(seconds(20));
  EXPECT_LE(drained_, before + 1);
}

TEST_F(WatermarkTest, SaysThatTheQueueIsDrainedAlsoWhenNobodyWorks) {
  queue(0, 0);
  run(seconds(10));
  EXPECT_GE(drained_, 8);  // Once for each reading.
  EXPECT_LE(drained_, 10);
  const int before = drained_;
  queue(1, 0);
  run(seconds(10));
  queue(0, 1);  // Somebody has taken it who has not reported yet.
  run(seconds(10));
  EXPECT_EQ(drained_, before);
}

TEST_F(WatermarkTest, NeverPassesTheClock) {
  worker("w", now_ + minutes(5));  // A server whose clock is ahead received it.
  queue(0, 1);
  run(seconds(5));
  EXPECT_LE(*mark(), now_);
}

}  // namespace
}  // namespace postoffice
