#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "broker/consumer.h"
#include "broker/publisher.h"
#include "broker/topology.h"
#include "tests/broker/amqp_test_broker.h"

namespace postoffice {
namespace {

// A consumer of topology::kCallbacks whose deliveries are kept until the test settles them.
class Inbox {
 public:
  Inbox(uint16_t prefetch, Metrics& metrics)
      : consumer_({.urls = {test_url()},
                   .name = "test consumer",
                   .queue = std::string(topology::kCallbacks),
                   .prefetch = prefetch},
                  {.on_delivery = [this](Delivery delivery) { on_delivery(std::move(delivery)); },
                   .on_lost = [this](uint64_t connection) { on_lost(connection); }},
                  metrics) {}

  Consumer& consumer() { return consumer_; }

  // Called for each delivery; true: acknowledge it at once.
  void acknowledge(std::function<bool(const Delivery&)> acknowledges) {
    const std::lock_guard lock(mutex_);
    acknowledges_ = std::move(acknowledges);
  }

  bool wait_for(size_t total, Millis timeout = Millis(20'000)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return deliveries_.size() >= total; });
  }
  bool wait_for_lost(uint64_t connection, Millis timeout = Millis(25'000)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return lost_ >= connection; });
  }
  std::vector<Delivery> deliveries() const {
    const std::lock_guard lock(mutex_);
    return deliveries_;
  }
  size_t total() const {
    const std::lock_guard lock(mutex_);
    return deliveries_.size();
  }
  uint64_t lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
  }

 private:
  void on_delivery(Delivery delivery) {
    bool acknowledges = false;
    const DeliveryTag tag = delivery.tag;
    {
      const std::lock_guard lock(mutex_);
      acknowledges = acknowledges_ && acknowledges_(delivery);
      deliveries_.push_back(std::move(delivery));
    }
    changed_.notify_all();
    if (acknowledges) consumer_.ack(tag);
  }
  void on_lost(uint64_t connection) {
    {
      const std::lock_guard lock(mutex_);
      lost_ = connection;
    }
    changed_.notify_all();
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::function<bool(const Delivery&)> acknowledges_;
  std::vector<Delivery> deliveries_;
  uint64_t lost_ = 0;
  Consumer consumer_;  // Last: its thread uses all of the above.
};

class ConsumerRabbitMq : public RabbitMqTest {
 protected:
  void SetUp() override {
    RabbitMqTest::SetUp();
    if (IsSkipped()) return;
    AmqpConnection connection({.url = test_url(), .name = "test"});
    declare_topology(connection);
  }

  std::unique_ptr<Inbox> start(uint16_t prefetch = 1000) {
    auto inbox = std::make_unique<Inbox>(prefetch, metrics_);
    inbox->consumer().start();
    EXPECT_TRUE(connected(*inbox));
    return inbox;
  }

  static bool connected(Inbox& inbox, Millis timeout = Millis(30'000)) {
    return eventually(timeout, [&] { return inbox.consumer().connected(); });
  }

  // "m0", "m1", ...
  static void publish(int count) {
    TestBroker broker;
    for (int i = 0; i < count; ++i) broker.publish(topology::kCallbacks, "m" + std::to_string(i));
  }

  void publish_fast(int count, size_t body_bytes) {
    AmqpPublisher publisher({.urls = {test_url()}, .name = "test publisher"}, metrics_);
    publisher.start();
    ASSERT_TRUE(eventually(Millis(10'000), [&] { return publisher.available(); }));
    std::atomic<int> confirmed = 0;
    for (int i = 0; i < count; ++i) {
      // More at once might wait than the publisher takes.
      if (i % 100 == 0) {
        ASSERT_TRUE(eventually(Millis(60'000), [&] { return confirmed == i; })) << confirmed;
      }
      publisher.publish({.routing_key = std::string(topology::kCallbacks),
                         .body = std::string(body_bytes, 'x'),
                         .headers = {}},
                        [&](PublishOutcome outcome) {
                          if (outcome == PublishOutcome::kConfirmed) ++confirmed;
                        });
    }
    ASSERT_TRUE(eventually(Millis(60'000), [&] { return confirmed == count; })) << confirmed;
    publisher.stop(SteadyClock::now() + Millis(1000));
  }

  static bool queue_holds(uint32_t messages) {
    TestBroker broker;
    return eventually(Millis(15'000),
                      [&] { return broker.length(topology::kCallbacks) == messages; });
  }

  static SteadyClock::time_point soon() { return SteadyClock::now() + Millis(5000); }
};

TEST_F(ConsumerRabbitMq, DeliversAndAcknowledges) {
  publish(3);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(3));
  for (const auto& delivery : inbox->deliveries()) {
    EXPECT_EQ(delivery.tag.connection, 1U);
    EXPECT_EQ(delivery.delivery_count, 0U);
    EXPECT_FALSE(delivery.redelivered);
    inbox->consumer().ack(delivery.tag);
  }
  EXPECT_EQ(inbox->deliveries()[2].body, "m2");
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, BodiesOfAnySizeArrive) {
  TestBroker broker;
  std::vector<std::string> bodies = {"", "x"};
  for (const size_t size : {131063U, 131064U, 131065U, 262128U, 20'000'000U}) {
    std::string body(size, '\0');
    for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 13);
    bodies.push_back(std::move(body));
  }
  for (const auto& body : bodies) broker.publish(topology::kCallbacks, body);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(bodies.size()));
  const auto deliveries = inbox->deliveries();
  for (size_t i = 0; i < bodies.size(); ++i) {
    EXPECT_TRUE(deliveries[i].body == bodies[i]) << bodies[i].size();
    inbox->consumer().ack(deliveries[i].tag);
  }
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, PrefetchBoundsWhatIsUnsettled) {
  publish(20);
  auto inbox = start(5);
  ASSERT_TRUE(inbox->wait_for(5));
  EXPECT_FALSE(inbox->wait_for(6, Millis(300)));
  inbox->consumer().ack(inbox->deliveries()[3].tag);
  EXPECT_TRUE(inbox->wait_for(6));
  EXPECT_FALSE(inbox->wait_for(7, Millis(300)));
}

TEST_F(ConsumerRabbitMq, ARequeuedDeliveryComesBackCounted) {
  publish(1);
  auto inbox = start();
  for (size_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(inbox->wait_for(i + 1));
    const auto delivery = inbox->deliveries()[i];
    EXPECT_EQ(delivery.delivery_count, i);
    EXPECT_EQ(delivery.redelivered, i > 0);
    inbox->consumer().requeue(delivery.tag);
  }
  ASSERT_TRUE(inbox->wait_for(6));
  inbox->consumer().ack(inbox->deliveries()[5].tag);
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, OnlyWhatWasAcknowledgedIsGone) {
  constexpr int kMessages = 300;
  publish(kMessages);
  std::set<std::string> kept;
  {
    auto inbox = start();
    ASSERT_TRUE(inbox->wait_for(kMessages));
    // Holes of all kinds: held, requeued by the end, acknowledged out of order.
    const auto deliveries = inbox->deliveries();
    for (size_t i = deliveries.size(); i-- > 0;) {
      if (i % 7 == 3 || i % 50 < 5) {
        kept.insert(deliveries[i].body);
      } else {
        inbox->consumer().ack(deliveries[i].tag);
        if (i % 11 == 0) std::this_thread::yield();
      }
    }
    for (size_t i = 0; i < deliveries.size(); i += 70) {
      inbox->consumer().requeue(deliveries[i].tag);  // Those with i % 50 < 5 are held.
    }
    inbox->consumer().cancel();
    inbox->consumer().stop(soon());
  }
  ASSERT_TRUE(queue_holds(static_cast<uint32_t>(kept.size())));
  std::set<std::string> left;
  for (auto& message : TestBroker().take_all(topology::kCallbacks)) left.insert(message.body);
  EXPECT_EQ(left, kept);
}

TEST_F(ConsumerRabbitMq, SettlingTwiceOrOnALostConnectionIsIgnored) {
  disturb();
  publish(2);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(2));
  const auto old = inbox->deliveries();
  inbox->consumer().ack(old[0].tag);
  inbox->consumer().ack(old[0].tag);
  inbox->consumer().requeue(old[0].tag);
  inbox->consumer().ack({.connection = 1, .tag = 77});
  ASSERT_TRUE(queue_holds(0));
  kill_broker();
  ASSERT_TRUE(inbox->wait_for_lost(1));
  start_broker();
  ASSERT_TRUE(inbox->wait_for(3, Millis(60'000)));
  const auto again = inbox->deliveries()[2];
  EXPECT_EQ(again.body, "m1");
  EXPECT_EQ(again.tag.connection, inbox->lost() + 1);
  EXPECT_TRUE(again.redelivered);
  inbox->consumer().ack(old[1].tag);  // Of the lost connection; its tag is another's now.
  EXPECT_TRUE(inbox->consumer().connected());
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(1));
}

// As a publisher does at once whose message was returned. RabbitMQ then often says nothing to the
// consumer, and delivers nothing.
TEST_F(ConsumerRabbitMq, ADeletedQueueThatAnotherDeclaresAtOnceIsConsumedAgain) {
  auto inbox = start();
  TestBroker broker;
  AmqpConnection other({.url = test_url(), .name = "test"});
  for (size_t i = 1; i <= 4; ++i) {
    broker.delete_queue(topology::kCallbacks);
    declare_topology(other);
    broker.publish(topology::kCallbacks, "m" + std::to_string(i));
    ASSERT_TRUE(inbox->wait_for(i)) << i;
    inbox->consumer().ack(inbox->deliveries()[i - 1].tag);
  }
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, ADeletedQueueIsDeclaredAndConsumedAgain) {
  publish(2);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(2));
  TestBroker broker;
  broker.delete_queue(topology::kCallbacks);
  ASSERT_TRUE(eventually(Millis(10'000), [&] { return broker.exists(topology::kCallbacks); }));
  broker.publish(topology::kCallbacks, "after");
  ASSERT_TRUE(inbox->wait_for(3));
  EXPECT_EQ(inbox->deliveries()[2].body, "after");
  // On the same connection, which the deliveries of the queue that is gone do not disturb.
  for (const auto& delivery : inbox->deliveries()) inbox->consumer().ack(delivery.tag);
  broker.publish(topology::kCallbacks, "and after");
  ASSERT_TRUE(inbox->wait_for(4));
  EXPECT_EQ(inbox->deliveries()[3].tag.connection, 1U);
  inbox->consumer().ack(inbox->deliveries()[3].tag);
  inbox->consumer().stop(soon());
  EXPECT_EQ(inbox->lost(), 0U);
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, AfterCancelNothingIsDeliveredAndSettlingGoesOn) {
  publish(3);
  auto inbox = start(2);
  ASSERT_TRUE(inbox->wait_for(2));
  inbox->consumer().cancel();
  inbox->consumer().ack(inbox->deliveries()[0].tag);
  inbox->consumer().requeue(inbox->deliveries()[1].tag);
  EXPECT_TRUE(queue_holds(2));
  EXPECT_EQ(inbox->total(), 2U);
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(2));
}

TEST_F(ConsumerRabbitMq, CancelledWhileTheBrokerIsAwayItStaysCancelled) {
  disturb();
  publish(1);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(1));
  kill_broker();
  ASSERT_TRUE(inbox->wait_for_lost(1));
  inbox->consumer().cancel();
  start_broker();
  ASSERT_TRUE(connected(*inbox));
  EXPECT_TRUE(queue_holds(1));
  EXPECT_EQ(inbox->total(), 1U);
}

TEST_F(ConsumerRabbitMq, NotReadingHoldsTheBrokerBackByTcp) {
  constexpr int kMessages = 2000;
  publish_fast(kMessages, 50'000);  // 100 MB, far more than sockets hold.
  Inbox inbox(10'000, metrics_);
  inbox.acknowledge([](const Delivery&) { return false; });
  inbox.consumer().set_reading(false);
  inbox.consumer().start();
  ASSERT_TRUE(connected(inbox));
  EXPECT_FALSE(inbox.wait_for(1000, Millis(2000)));
  inbox.consumer().set_reading(true);
  ASSERT_TRUE(inbox.wait_for(100));
  inbox.consumer().set_reading(false);
  // What was read already is delivered; then it stands still.
  size_t total = inbox.total();
  EXPECT_TRUE(eventually(Millis(10'000), [&] {
    const size_t before = std::exchange(total, inbox.total());
    std::this_thread::sleep_for(Millis(200));
    return before == inbox.total();
  }));
  inbox.consumer().set_reading(true);
  ASSERT_TRUE(inbox.wait_for(kMessages));
  for (const auto& delivery : inbox.deliveries()) inbox.consumer().ack(delivery.tag);
  inbox.consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

// Longer than the broker waits for a client it hears nothing of.
TEST_F(ConsumerRabbitMq, NotReadingForLongKeepsTheConnection) {
  publish_fast(1000, 50'000);
  auto inbox = start(10'000);
  inbox->consumer().set_reading(false);
  const size_t before = inbox->deliveries().size();
  EXPECT_FALSE(inbox->wait_for_lost(1, Millis(45'000)));
  // What is read to see that the broker lives is little.
  EXPECT_LE(inbox->deliveries().size(), before + 5 * 25);
  inbox->consumer().set_reading(true);
  ASSERT_TRUE(inbox->wait_for(1000));
  for (const auto& delivery : inbox->deliveries()) inbox->consumer().ack(delivery.tag);
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, StopSendsWhatWasSettledAndRequeuesTheRest) {
  publish(100);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(100));
  const auto deliveries = inbox->deliveries();
  for (size_t i = 0; i < 60; ++i) inbox->consumer().ack(deliveries[i].tag);
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(40));
  inbox->consumer().stop(soon());
  EXPECT_EQ(inbox->lost(), 0U);
}

TEST_F(ConsumerRabbitMq, StopIsBoundedWhileTheBrokerHangs) {
  disturb();
  publish(10);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(10));
  pause_broker();
  for (const auto& delivery : inbox->deliveries()) inbox->consumer().ack(delivery.tag);
  const auto start = SteadyClock::now();
  inbox->consumer().stop(start + Millis(500));
  EXPECT_LT(SteadyClock::now() - start, Millis(8000));
}

TEST_F(ConsumerRabbitMq, AHangingBrokerIsGivenUpAndItsDeliveriesComeAgain) {
  disturb();
  publish(1);
  auto inbox = start();
  ASSERT_TRUE(inbox->wait_for(1));
  const auto paused_at = SteadyClock::now();
  pause_broker();
  ASSERT_TRUE(inbox->wait_for_lost(1, Millis(40'000)));
  EXPECT_LE(SteadyClock::now() - paused_at, Millis(30'000));
  resume_broker();
  ASSERT_TRUE(inbox->wait_for(2, Millis(30'000)));
  EXPECT_EQ(inbox->deliveries()[1].body, "m0");
  inbox->consumer().ack(inbox->deliveries()[1].tag);
  inbox->consumer().stop(soon());
  EXPECT_TRUE(queue_holds(0));
}

TEST_F(ConsumerRabbitMq, EverythingAcknowledgedUnderLoadIsGone) {
  constexpr int kMessages = 20'000;
  publish_fast(kMessages, 10);
  Inbox inbox(1000, metrics_);
  inbox.acknowledge([](const Delivery&) { return true; });
  inbox.consumer().start();
  ASSERT_TRUE(inbox.wait_for(kMessages));
  inbox.consumer().stop(soon());
  EXPECT_EQ(inbox.total(), size_t{kMessages});
  EXPECT_TRUE(queue_holds(0));
}

}  // namespace
}  // namespace postoffice
