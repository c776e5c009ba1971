#include "broker/queue_monitor.h"

#include <gtest/gtest.h>

#include "tests/broker/amqp_test_broker.h"

namespace postoffice {
namespace {

class QueueMonitorRabbitMq : public RabbitMqTest {
 protected:
  void SetUp() override {
    RabbitMqTest::SetUp();
    if (IsSkipped()) return;
    AmqpConnection connection({.url = test_url(), .name = "test"});
    declare_topology(connection);
  }

  static bool reads(const QueueMonitor& monitor, uint32_t messages) {
    return eventually(Millis(30'000), [&] {
      const auto reading = monitor.callbacks();
      return reading && reading->messages == messages;
    });
  }
};

TEST_F(QueueMonitorRabbitMq, CountsWhatWaits) {
  QueueMonitor monitor({test_url()}, metrics_);
  EXPECT_FALSE(monitor.callbacks());
  monitor.start();
  ASSERT_TRUE(reads(monitor, 0));
  const auto first = *monitor.callbacks();
  EXPECT_EQ(first.consumers, 0U);
  TestBroker broker;
  broker.publish(topology::kCallbacks, "a");
  broker.publish(topology::kCallbacks, "b");
  broker.publish(topology::kCallbacksDead, "c");
  ASSERT_TRUE(reads(monitor, 2));
  const auto second = *monitor.callbacks();
  EXPECT_GT(second.number, first.number);
  EXPECT_GE(second.asked_at - first.asked_at, Millis(500));
  EXPECT_TRUE(eventually(Millis(20'000), [&] {
    const auto text = metrics_.text();
    return text.find(R"(postoffice_queue_messages{queue="postoffice.callbacks"} 2)") !=
               std::string::npos &&
           text.find(R"(postoffice_queue_messages{queue="postoffice.callbacks.dead"} 1)") !=
               std::string::npos;
  })) << metrics_.text();
  monitor.stop();
  monitor.stop();
  EXPECT_FALSE(monitor.callbacks());
}

TEST_F(QueueMonitorRabbitMq, AMissingQueueHasNoReading) {
  QueueMonitor monitor({test_url()}, metrics_);
  monitor.start();
  ASSERT_TRUE(reads(monitor, 0));
  TestBroker broker;
  broker.delete_queue(topology::kCallbacks);
  EXPECT_TRUE(eventually(Millis(20'000), [&] { return !monitor.callbacks(); }));
  AmqpConnection connection({.url = test_url(), .name = "test"});
  declare_topology(connection);
  EXPECT_TRUE(reads(monitor, 0));
}

TEST_F(QueueMonitorRabbitMq, WhileTheBrokerHangsThereIsNoReading) {
  disturb();
  QueueMonitor monitor({test_url()}, metrics_);
  monitor.start();
  ASSERT_TRUE(reads(monitor, 0));
  pause_broker();
  EXPECT_TRUE(eventually(Millis(20'000), [&] { return !monitor.callbacks(); }));
  const auto start = SteadyClock::now();
  monitor.stop();
  EXPECT_LT(SteadyClock::now() - start, Millis(4500));  // An attempt takes 5 s.
}

TEST_F(QueueMonitorRabbitMq, GoesOnAfterTheBrokerCameBack) {
  disturb();
  QueueMonitor monitor({test_url()}, metrics_);
  monitor.start();
  ASSERT_TRUE(reads(monitor, 0));
  kill_broker();
  EXPECT_TRUE(eventually(Millis(10'000), [&] { return !monitor.callbacks(); }));
  start_broker();
  EXPECT_TRUE(reads(monitor, 0));
}

}  // namespace
}  // namespace postoffice
