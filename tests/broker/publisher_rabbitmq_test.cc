#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "broker/publisher.h"
#include "broker/topology.h"
#include "tests/broker/amqp_test_broker.h"

namespace postoffice {
namespace {

// What became of each message published, and how often it was settled.
class Outcomes {
 public:
  Publisher::Settled settle(std::string body) {
    {
      const std::lock_guard lock(mutex_);
      ++published_;
    }
    return [this, body = std::move(body)](PublishOutcome outcome) {
      const std::lock_guard lock(mutex_);
      settled_[body].push_back(outcome);
      ++count_[static_cast<size_t>(outcome)];
      ++total_;
      changed_.notify_all();
    };
  }

  bool wait_for(size_t total, Millis timeout = Millis(30'000)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return total_ >= total; });
  }
  bool wait_for_all(Millis timeout = Millis(30'000)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return total_ >= published_; });
  }
  size_t count(PublishOutcome outcome) const {
    const std::lock_guard lock(mutex_);
    return count_[static_cast<size_t>(outcome)];
  }
  size_t total() const {
    const std::lock_guard lock(mutex_);
    return total_;
  }
  size_t published() const {
    const std::lock_guard lock(mutex_);
    return published_;
  }
  std::map<std::string, std::vector<PublishOutcome>> settled() const {
    const std::lock_guard lock(mutex_);
    return settled_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<PublishOutcome>> settled_;
  std::array<size_t, 5> count_{};
  size_t total_ = 0;
  size_t published_ = 0;
};

class PublisherRabbitMq : public RabbitMqTest {
 protected:
  std::unique_ptr<AmqpPublisher> make(std::vector<AmqpUrl> urls, size_t window = 1000) {
    auto publisher = std::make_unique<AmqpPublisher>(
        AmqpPublisher::Options{.urls = std::move(urls), .name = "test publisher", .window = window},
        metrics_);
    publisher->on_availability([this](bool available) {
      const std::lock_guard lock(availability_mutex_);
      availability_.push_back(available);
    });
    return publisher;
  }

  std::unique_ptr<AmqpPublisher> start(size_t window = 1000) {
    auto publisher = make({test_url()}, window);
    publisher->start();
    EXPECT_TRUE(available(*publisher));
    return publisher;
  }

  static bool available(const Publisher& publisher, Millis timeout = Millis(15'000)) {
    return eventually(timeout, [&] { return publisher.available(); });
  }
  static bool unavailable(const Publisher& publisher, Millis timeout = Millis(15'000)) {
    return eventually(timeout, [&] { return !publisher.available(); });
  }

  void publish(Publisher& publisher, const std::string& body,
               std::string_view routing_key = topology::kCallbacks) {
    publisher.publish({.routing_key = std::string(routing_key), .body = body, .headers = {}},
                      outcomes_.settle(body.substr(0, 20)));
  }

  // Publishes until the outcome of one message is `wanted`.
  bool publish_until(Publisher& publisher, PublishOutcome wanted, const std::string& prefix) {
    for (int i = 0; i < 100; ++i) {
      if (!available(publisher)) return false;
      const size_t before = outcomes_.count(wanted);
      publish(publisher, prefix + std::to_string(i));
      if (!outcomes_.wait_for_all()) return false;
      if (outcomes_.count(wanted) > before) return true;
    }
    return false;
  }

  std::vector<bool> availability() const {
    const std::lock_guard lock(availability_mutex_);
    return availability_;
  }

  static SteadyClock::time_point soon() { return SteadyClock::now() + Millis(5000); }

  Outcomes outcomes_;
  mutable std::mutex availability_mutex_;
  std::vector<bool> availability_;
};

TEST_F(PublisherRabbitMq, ConfirmsUnderLoadWithASmallWindow) {
  auto publisher = start(50);
  constexpr int kMessages = 5000;
  for (int i = 0; i < kMessages; ++i) publish(*publisher, "m" + std::to_string(i));
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), size_t{kMessages});
  publisher->stop(soon());
  EXPECT_EQ(TestBroker().length(topology::kCallbacks), uint32_t{kMessages});
  EXPECT_NE(
      metrics_.text().find(
          R"(postoffice_publishes_total{outcome="confirmed",publisher="test publisher"} 5000)"),
      std::string::npos)
      << metrics_.text();
}

TEST_F(PublisherRabbitMq, BodiesOfAnySizeAndHeadersArrive) {
  auto publisher = start();
  std::vector<std::string> bodies = {"", "x"};
  for (const size_t size : {131063U, 131064U, 131065U, 262128U, 5'000'000U}) {
    std::string body(size, '\0');
    for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 7);
    bodies.push_back(std::move(body));
  }
  for (const auto& body : bodies) {
    publisher->publish({.routing_key = std::string(topology::kCallbacksDead),
                        .body = body,
                        .headers = {{"reason", "because"}, {"long", std::string(10'000, 'l')}}},
                       outcomes_.settle("body"));
  }
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), bodies.size());
  const auto taken = TestBroker().take_all(topology::kCallbacksDead);
  ASSERT_EQ(taken.size(), bodies.size());
  for (size_t i = 0; i < bodies.size(); ++i) {
    EXPECT_TRUE(taken[i].body == bodies[i]) << bodies[i].size();
    EXPECT_EQ(taken[i].headers.at("reason"), "because");
    EXPECT_EQ(taken[i].headers.at("long"), std::string(4096, 'l'));
  }
}

TEST_F(PublisherRabbitMq, RefusesNamesThatAmqpCannotCarry) {
  auto publisher = start();
  EXPECT_THROW(publish(*publisher, "x", std::string(256, 'k')), std::invalid_argument);
  EXPECT_THROW(
      publisher->publish({.routing_key = "k", .body = "", .headers = {{std::string(128, 'h'), ""}}},
                         [](PublishOutcome) {}),
      std::invalid_argument);
}

TEST_F(PublisherRabbitMq, ADeletedQueueIsDeclaredAgainAfterOneReturn) {
  auto publisher = start();
  TestBroker broker;
  broker.delete_queue(topology::kCallbacks);
  publish(*publisher, "returned");
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kReturned), 1U);
  // Sent after the return was seen: the queue is there again.
  publish(*publisher, "confirmed");
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 1U);
  EXPECT_EQ(broker.length(topology::kCallbacks), 1U);
  EXPECT_EQ(availability(), std::vector<bool>{true});
}

// RabbitMQ 3.10 does one of several things with what is in flight: returns it, closes the
// connection with 541, or never settles it.
TEST_F(PublisherRabbitMq, AQueueDeletedUnderLoadIsRecoveredFrom) {
  auto publisher = start();
  TestBroker broker;
  std::atomic<bool> stop = false;
  std::thread load([&] {
    for (int i = 0; !stop; ++i) {
      publish(*publisher, "m" + std::to_string(i));
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  EXPECT_TRUE(outcomes_.wait_for(2000));
  broker.delete_queue(topology::kCallbacks);
  const size_t confirmed = outcomes_.count(PublishOutcome::kConfirmed);
  // More than could have been in flight.
  EXPECT_TRUE(eventually(Millis(40'000), [&] {
    return outcomes_.count(PublishOutcome::kConfirmed) > confirmed + 2000;
  }));
  stop = true;
  load.join();
  EXPECT_TRUE(outcomes_.wait_for_all(Millis(40'000)));
  EXPECT_EQ(outcomes_.total(), outcomes_.published());
  EXPECT_TRUE(
      eventually(Millis(5000), [] { return TestBroker().length(topology::kCallbacks) > 1000; }));
  EXPECT_TRUE(publish_until(*publisher, PublishOutcome::kConfirmed, "after"));
}

// A window of messages is in flight and nothing follows that could be returned.
TEST_F(PublisherRabbitMq, AWindowInFlightToADeletedQueueIsRecoveredFrom) {
  auto publisher = start(100);
  TestBroker broker;
  std::atomic<bool> stop = false;
  std::thread load([&] {
    for (int i = 0; !stop; ++i) {
      publish(*publisher, "m" + std::to_string(i));
      while (!stop && outcomes_.published() - outcomes_.total() >= 100)
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  EXPECT_TRUE(outcomes_.wait_for(1000));
  broker.delete_queue(topology::kCallbacks);
  const size_t settled = outcomes_.total();
  EXPECT_TRUE(eventually(Millis(40'000), [&] { return outcomes_.total() > settled + 1000; }));
  stop = true;
  load.join();
  EXPECT_TRUE(outcomes_.wait_for_all(Millis(40'000)));
  EXPECT_TRUE(publish_until(*publisher, PublishOutcome::kConfirmed, "after"));
}

TEST_F(PublisherRabbitMq, ADeletedExchangeClosesTheChannelAndIsDeclaredAgain) {
  auto publisher = start();
  TestBroker broker;
  broker.delete_exchange(topology::kExchange);
  publish(*publisher, "unknown");
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kUnknown), 1U);
  EXPECT_TRUE(publish_until(*publisher, PublishOutcome::kConfirmed, "again"));
  EXPECT_EQ(broker.length(topology::kCallbacks), 1U);
}

TEST_F(PublisherRabbitMq, AFullQueueNacks) {
  auto publisher = start();
  TestBroker broker;
  const std::string full = "test.full";
  broker.delete_queue(full);
  broker.declare_queue(
      full, {{"x-queue-type", "quorum"}, {"x-max-length", "10"}, {"x-overflow", "reject-publish"}});
  broker.bind(full, topology::kExchange, full);
  // A quorum queue tells its publishers some time after it is full.
  for (int i = 0; i < 1000 && outcomes_.count(PublishOutcome::kNacked) == 0; ++i) {
    publish(*publisher, "m" + std::to_string(i), full);
    ASSERT_TRUE(outcomes_.wait_for_all());
  }
  EXPECT_EQ(outcomes_.count(PublishOutcome::kNacked), 1U);
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), outcomes_.total() - 1);
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), broker.length(full));
  EXPECT_TRUE(publisher->available());
  broker.delete_queue(full);
}

TEST_F(PublisherRabbitMq, AnAlarmBlocksAndLateConfirmsStillCome) {
  disturb();
  auto publisher = start();
  raise_alarm();
  publish(*publisher, "in flight");
  ASSERT_TRUE(unavailable(*publisher));
  EXPECT_NE(publisher->status().find("blocks publishing: low on memory"), std::string::npos)
      << publisher->status();
  EXPECT_EQ(outcomes_.total(), 0U);
  publish(*publisher, "refused");
  EXPECT_EQ(outcomes_.count(PublishOutcome::kUnavailable), 1U);
  clear_alarm();
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 1U);
  ASSERT_TRUE(available(*publisher));
  publish(*publisher, "after");
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 2U);
  EXPECT_EQ(availability(), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(TestBroker().length(topology::kCallbacks), 2U);
}

// More than sockets hold: a client that waits inside its write never learns that it is blocked.
TEST_F(PublisherRabbitMq, AnAlarmUnderLargeBodiesBlocksToo) {
  disturb();
  auto publisher = start();
  raise_alarm();
  for (int i = 0; i < 60; ++i)
    publish(*publisher, std::to_string(i) + ' ' + std::string(1'000'000, 'x'));
  ASSERT_TRUE(unavailable(*publisher));
  // What was never sent is settled; the rest waits for the end of the alarm.
  EXPECT_TRUE(
      eventually(Millis(5000), [&] { return outcomes_.count(PublishOutcome::kUnavailable) > 0; }));
  EXPECT_LT(outcomes_.total(), 60U);
  clear_alarm();
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), TestBroker().length(topology::kCallbacks));
  EXPECT_EQ(
      outcomes_.count(PublishOutcome::kConfirmed) + outcomes_.count(PublishOutcome::kUnavailable),
      60U);
  TestBroker().purge(topology::kCallbacks);
}

TEST_F(PublisherRabbitMq, AKilledBrokerSettlesEveryMessageOnceAndKeepsTheConfirmed) {
  disturb();
  auto publisher = start(200);
  std::atomic<bool> stop = false;
  std::thread load([&] {
    for (int i = 0; !stop; ++i) {
      publish(*publisher, "m" + std::to_string(i));
      while (!stop && (outcomes_.published() - outcomes_.total() > 1000 || !publisher->available()))
        std::this_thread::sleep_for(Millis(1));
    }
  });
  EXPECT_TRUE(outcomes_.wait_for(3000));
  kill_broker();
  EXPECT_TRUE(unavailable(*publisher));
  start_broker();
  EXPECT_TRUE(available(*publisher, Millis(60'000)));
  const size_t confirmed = outcomes_.count(PublishOutcome::kConfirmed);
  EXPECT_TRUE(eventually(Millis(20'000), [&] {
    return outcomes_.count(PublishOutcome::kConfirmed) > confirmed + 1000;
  }));
  stop = true;
  load.join();
  publisher->stop(soon());

  const auto settled = outcomes_.settled();
  EXPECT_EQ(settled.size(), outcomes_.published());
  EXPECT_GT(outcomes_.count(PublishOutcome::kUnknown), 0U);
  std::set<std::string> stored;
  for (auto& message : TestBroker().take_all(topology::kCallbacks)) stored.insert(message.body);
  for (const auto& [body, outcomes] : settled) {
    ASSERT_EQ(outcomes.size(), 1U) << body;
    if (outcomes[0] == PublishOutcome::kConfirmed) {
      EXPECT_TRUE(stored.contains(body)) << body;
    }
    if (outcomes[0] == PublishOutcome::kUnavailable) {
      EXPECT_FALSE(stored.contains(body)) << body;
    }
  }
}

TEST_F(PublisherRabbitMq, AHangingBrokerIsGivenUpWithin20Seconds) {
  disturb();
  auto publisher = start();
  publish(*publisher, "before");
  ASSERT_TRUE(outcomes_.wait_for_all());
  const auto paused_at = SteadyClock::now();
  pause_broker();
  // Far more than the sockets take.
  const std::string large(1'000'000, 'x');
  for (int i = 0; i < 30; ++i) {
    const auto start = SteadyClock::now();
    publish(*publisher, std::to_string(i) + ' ' + large);
    EXPECT_LT(SteadyClock::now() - start, Millis(8000));  // No call blocks on the broker.
  }
  ASSERT_TRUE(unavailable(*publisher, Millis(40'000)));
  EXPECT_LE(SteadyClock::now() - paused_at, Millis(30'000));
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_GT(outcomes_.count(PublishOutcome::kUnknown), 0U);
  EXPECT_GT(outcomes_.count(PublishOutcome::kUnavailable), 0U);
  resume_broker();
  ASSERT_TRUE(available(*publisher, Millis(30'000)));
  EXPECT_TRUE(publish_until(*publisher, PublishOutcome::kConfirmed, "after"));
}

TEST_F(PublisherRabbitMq, ABrokerThatHangsForAMomentIsWaitedFor) {
  disturb();
  auto publisher = start();
  pause_broker();
  for (int i = 0; i < 100; ++i) publish(*publisher, "m" + std::to_string(i));
  EXPECT_FALSE(outcomes_.wait_for(1, Millis(1000)));
  resume_broker();
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 100U);
  EXPECT_EQ(availability(), std::vector<bool>{true});
}

TEST_F(PublisherRabbitMq, StopIsBoundedWhileTheBrokerHangs) {
  disturb();
  auto publisher = start();
  pause_broker();
  for (int i = 0; i < 20; ++i)
    publish(*publisher, std::to_string(i) + ' ' + std::string(1'000'000, 'x'));
  const auto start = SteadyClock::now();
  publisher->stop(start + Millis(500));
  EXPECT_LT(SteadyClock::now() - start, Millis(8000));
  EXPECT_EQ(outcomes_.total(), 20U);
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 0U);
}

TEST_F(PublisherRabbitMq, StopIsBoundedWhileItConnectsToAHangingBroker) {
  disturb();
  pause_broker();
  auto publisher = make({test_url()});
  publisher->start();
  publish(*publisher, "refused");
  EXPECT_EQ(outcomes_.count(PublishOutcome::kUnavailable), 1U);
  const auto start = SteadyClock::now();
  publisher->stop(start + Millis(30'000));
  EXPECT_LT(SteadyClock::now() - start, Millis(4500));  // An attempt takes 5 s.
}

TEST_F(PublisherRabbitMq, StopWaitsForConfirms) {
  auto publisher = start();
  for (int i = 0; i < 500; ++i) publish(*publisher, "m" + std::to_string(i));
  publisher->stop(soon());
  EXPECT_EQ(outcomes_.total(), 500U);
  EXPECT_EQ(outcomes_.count(PublishOutcome::kUnknown), 0U);
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), TestBroker().length(topology::kCallbacks));
  publisher->stop(soon());
  publish(*publisher, "late");
  EXPECT_EQ(
      outcomes_.count(PublishOutcome::kUnavailable) + outcomes_.count(PublishOutcome::kConfirmed),
      501U);
}

TEST_F(PublisherRabbitMq, ABrokerThatIsDownAtStartIsWaitedFor) {
  disturb();
  kill_broker();
  auto publisher = make({test_url()});
  publisher->start();
  publish(*publisher, "refused");
  EXPECT_EQ(outcomes_.count(PublishOutcome::kUnavailable), 1U);
  EXPECT_TRUE(eventually(Millis(5000), [&] {
    return publisher->status().find("Connection refused") != std::string::npos;
  })) << publisher->status();
  start_broker();
  ASSERT_TRUE(available(*publisher, Millis(60'000)));
  publish(*publisher, "confirmed");
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 1U);
}

TEST_F(PublisherRabbitMq, TheNextUrlIsTriedWhenTheFirstIsDead) {
  AmqpUrl dead = test_url();
  dead.port = 1;
  AmqpUrl no_name = test_url();
  no_name.host = "no-such-host.invalid";
  auto publisher = make({dead, no_name, test_url()});
  publisher->start();
  ASSERT_TRUE(available(*publisher, Millis(60'000)));
  EXPECT_NE(publisher->status().find("RabbitMQ 3."), std::string::npos) << publisher->status();
  publish(*publisher, "x");
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(outcomes_.count(PublishOutcome::kConfirmed), 1U);
}

TEST_F(PublisherRabbitMq, AWrongPasswordIsNamedButNotShown) {
  AmqpUrl url = test_url();
  url.password = "hunter2";
  auto publisher = make({url});
  testing::internal::CaptureStdout();
  publisher->start();
  EXPECT_TRUE(eventually(Millis(10'000), [&] {
    return publisher->status().find("login refused: 403 ACCESS_REFUSED") != std::string::npos;
  })) << publisher->status();
  publisher->stop(soon());
  const std::string log = testing::internal::GetCapturedStdout();
  EXPECT_NE(log.find("login refused: 403"), std::string::npos) << log;
  EXPECT_EQ(log.find("hunter2"), std::string::npos) << log;
}

TEST_F(PublisherRabbitMq, AnUnknownVhostIsNamed) {
  AmqpUrl url = test_url();
  url.vhost = "nowhere";
  auto publisher = make({url});
  publisher->start();
  EXPECT_TRUE(eventually(Millis(10'000), [&] {
    return publisher->status().find("login refused: 530 NOT_ALLOWED") != std::string::npos;
  })) << publisher->status();
}

TEST_F(PublisherRabbitMq, WhatWaitsInMemoryIsBounded) {
  disturb();
  AmqpPublisher publisher(
      {.urls = {test_url()}, .name = "test publisher", .window = 10, .max_waiting_bytes = 1 << 20},
      metrics_);
  publisher.start();
  ASSERT_TRUE(available(publisher));
  pause_broker();
  for (int i = 0; i < 100; ++i)
    publish(publisher, std::to_string(i) + ' ' + std::string(100'000, 'x'));
  EXPECT_GE(outcomes_.count(PublishOutcome::kUnavailable), 70U);
  resume_broker();
  ASSERT_TRUE(outcomes_.wait_for_all());
  EXPECT_EQ(
      outcomes_.count(PublishOutcome::kUnavailable) + outcomes_.count(PublishOutcome::kConfirmed),
      100U);
}

TEST_F(PublisherRabbitMq, AMessageMayBePublishedFromASettledCallback) {
  auto publisher = start(1);
  std::atomic<int> left = 50;
  std::function<void(PublishOutcome)> again = [&](PublishOutcome outcome) {
    EXPECT_EQ(outcome, PublishOutcome::kConfirmed);
    if (--left > 0) {
      publisher->publish(
          {.routing_key = std::string(topology::kCallbacks), .body = "again", .headers = {}},
          again);
    }
  };
  publisher->publish(
      {.routing_key = std::string(topology::kCallbacks), .body = "first", .headers = {}}, again);
  EXPECT_TRUE(eventually(Millis(20'000), [&] { return left == 0; }));
  publisher->stop(soon());
}

}  // namespace
}  // namespace postoffice
