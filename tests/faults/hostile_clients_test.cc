// Whatever a client sends or leaves undone: the broker neither ends, nor hangs, nor grows without
// bound, and others are served as before.

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/amqp/channel.h"
#include "tests/faults/broker_process.h"

namespace postoffice::faults_test {
namespace {

using amqp_test::Channel;
using amqp_test::Client;
using e2e::Seconds;
using std::literals::string_view_literals::operator""sv;

constexpr uint64_t kMiB = uint64_t{1} << 20;
// Sanitizers keep what was freed.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSlack = 16;
constexpr int kManyQueues = 10'000;
constexpr int kManyBindings = 10'000;
constexpr int kManyLetters = 300;
#else
constexpr uint64_t kSlack = 1;
constexpr int kManyQueues = 100'000;
constexpr int kManyBindings = 50'000;
constexpr int kManyLetters = 1000;
#endif

class HostileClients : public testing::Test {
 protected:
  HostileClients() {
    broker_.start();
    broker_.await();
    idle_bytes_ = broker_.resident_bytes();
  }

  // A stranger is served, and soon.
  void expect_served() {
    ASSERT_TRUE(broker_.running()) << broker_.output();
    const auto began = SteadyClock::now();
    const auto client = broker_.connect();
    Channel channel = client->channel(1);
    const std::string queue = channel.declare("").name;
    channel.publish(queue, "hello");
    EXPECT_EQ(channel.get(queue).value().body, "hello");
    channel.call(amqp_test::queue_delete(queue));
    EXPECT_LT(SteadyClock::now() - began, Millis(10'000));
  }
  void expect_growth_below(uint64_t bytes) {
    EXPECT_LT(broker_.resident_bytes(), idle_bytes_ + bytes * kSlack)
        << "it was " << idle_bytes_ << " bytes";
  }

  BrokerProcess broker_{16 << 20};
  uint64_t idle_bytes_ = 0;
};

TEST_F(HostileClients, WhoSaysNothingOrHalfAHeaderIsDropped) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(std::make_unique<Client>("127.0.0.1", broker_.port()));
    if (i % 2 == 0) clients.back()->send_bytes("AMQP"sv);
  }
  expect_served();
  expect_growth_below(20 * kMiB);
  // 10 s for a handshake.
  EXPECT_TRUE(e2e::eventually(Seconds(30), [&] {
    return std::ranges::all_of(clients, [](const auto& client) { return client->has_ended(); });
  }));
  expect_served();
}

TEST_F(HostileClients, AConsumerThatNeverReadsHoldsNoMemory) {
  const auto publisher = broker_.connect();
  Channel channel = publisher->channel(1);
  channel.declare("q", {.durable = true});
  const auto consumer = broker_.connect();
  consumer->channel(1).send(amqp_test::basic_consume("q", {.no_ack = true}));
  channel.confirm_select();
  const std::string body(100'000, 'x');
  for (int i = 0; i < 2000; ++i) channel.publish("q", body, amqp_test::persistent());
  EXPECT_TRUE(channel.confirms().empty());
  expect_served();
  expect_growth_below(128 * kMiB);
}

// Buffers stayed as large as they once had to be.
TEST_F(HostileClients, AnIdleConnectionGivesItsBuffersBack) {
  const std::string body(400'000, 'x');
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(broker_.connect());
    Channel channel = clients.back()->channel(1);
    const std::string queue = channel.declare("").name;
    for (int twice = 0; twice < 2; ++twice) {
      channel.publish(queue, body);
      EXPECT_EQ(channel.get(queue).value().body, body);
    }
    channel.call(amqp_test::queue_delete(queue));
  }
  EXPECT_TRUE(e2e::eventually(Seconds(10), [&] {
    return broker_.resident_bytes() < idle_bytes_ + 40 * kMiB * kSlack;
  })) << broker_.resident_bytes();
  for (const auto& client : clients) client->channel(2);
}

// Answers could not be sent, and the connection stayed with all that was to be sent before.
TEST_F(HostileClients, WhoClosesAndNeverReadsIsGoneSoon) {
  const auto other = broker_.connect();
  Channel channel = other->channel(1);
  channel.declare("q");
  channel.publish("q", std::string(15 * kMiB, 'x'));  // More than the system takes.
  channel.await_ready("q", 1);
  const int before = broker_.open_sockets();
  const auto client = broker_.connect();
  client->channel(1).send(amqp_test::basic_consume("q", {.no_ack = true}));
  channel.await_ready("q", 0);
  client->send(0, amqp_test::connection_close());
  channel.await_consumers("q", 0);
  EXPECT_EQ(broker_.open_sockets(), before + 1);
  EXPECT_TRUE(e2e::eventually(Seconds(15), [&] { return broker_.open_sockets() == before; }));
}

// With so much unsent nothing is read, and heartbeats that do not come were not missed.
TEST_F(HostileClients, WhoNeverReadsMissesHeartbeats) {
  const auto other = broker_.connect();
  Channel channel = other->channel(1);
  channel.declare("q");
  channel.publish("q", std::string(40 * kMiB, 'x'));
  channel.await_ready("q", 1);
  const int before = broker_.open_sockets();
  const auto client = broker_.connect({.heartbeat_s = 1});
  client->channel(1).send(amqp_test::basic_consume("q"));
  channel.await_ready("q", 0);
  client->send(0, amqp_test::connection_close());
  EXPECT_TRUE(e2e::eventually(Seconds(15), [&] { return broker_.open_sockets() == before; }));
  EXPECT_EQ(channel.ready("q"), 1u);
}

TEST_F(HostileClients, WhoAsksAndNeverReadsTheAnswersIsHeldBack) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  channel.declare("q");
  channel.publish("q", std::string(100'000, 'x'));
  // Small questions with large answers, until the broker takes no more of them.
  client->set_send_deadline(Millis(5000));
  std::jthread asker([&] {
    try {
      const auto nack = amqp_test::basic_recover_async(true);
      for (int i = 0; i < 50'000; ++i) {
        channel.send(amqp_test::basic_get("q", false));
        channel.send(nack);
      }
    } catch (
        const std::exception&) {  // NOLINT(bugprone-empty-catch): held back for good, or dropped.
    }
  });
  for (int i = 0; i < 10; ++i) {
    expect_served();
    expect_growth_below(64 * kMiB);
    std::this_thread::sleep_for(Millis(100));  // While it goes on asking.
  }
  asker.join();
  expect_served();
}

TEST_F(HostileClients, ManyQueuesOfOneClientAreTaken) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  for (int i = 0; i < kManyQueues; ++i) {
    channel.send(amqp_test::queue_declare("many." + std::to_string(i), {.nowait = true}));
    if (i % 10'000 == 0) channel.sync();
  }
  channel.sync();
  expect_served();
  expect_growth_below(200 * kMiB);
  client->close();
}

// Dead letters of many messages at once: a few a turn, by everything that they hold.
class DeadLetters : public HostileClients {
 protected:
  DeadLetters() {
    channel_.declare("dead", {.durable = true});
    channel_.declare("q", {.durable = true,
                           .arguments = {{"x-dead-letter-exchange", ""},
                                         {"x-dead-letter-routing-key", "dead"}}});
    channel_.confirm_select();
  }

  void publish(int count, const std::string& body, const amqp_test::Properties& properties) {
    for (int i = 0; i < count; ++i) channel_.publish("q", body, properties);
    EXPECT_TRUE(channel_.confirms().empty());
  }
  void expect_dead(uint32_t count) {
    EXPECT_TRUE(e2e::eventually(Seconds(60), [&] {
      expect_served();
      expect_growth_below(100 * kMiB);
      return channel_.ready("dead") == count;
    }));
    EXPECT_EQ(channel_.ready("q"), 0u);
  }
  // Only what is at the head expires: all at once when the first one goes.
  void expect_expiry(int count, const std::string& body, amqp_test::Properties properties) {
    publish(1, "first", amqp_test::persistent());
    properties.expiration = "1";
    publish(count, body, properties);
    EXPECT_EQ(channel_.get("q").value().body, "first");
    expect_dead(count);
  }

  std::unique_ptr<Client> client_ = broker_.connect();
  Channel channel_ = client_->channel(1);
};

TEST_F(DeadLetters, OfMessagesThatExpireAllAtOnce) {
  expect_expiry(1500, std::string(100'000, 'x'), amqp_test::persistent());
}

// Bodies alone counted.
TEST_F(DeadLetters, OfManyHeadersThatExpireAllAtOnce) {
  auto properties = amqp_test::persistent();
  properties.headers.emplace();
  for (int i = 0; i < 12'000; ++i) properties.headers->push_back({std::to_string(i), true});
  expect_expiry(kManyLetters, "", properties);
}

// All of them were read, and written again, in one turn.
TEST_F(DeadLetters, OfMessagesThatAreRejectedAllAtOnce) {
  constexpr int kMessages = 1500;
  publish(kMessages, std::string(100'000, 'x'), amqp_test::persistent());
  for (int i = 0; i < kMessages; ++i) channel_.get("q", false).value();
  channel_.nack(0, {.multiple = true, .requeue = false});
  expect_dead(kMessages);
}

// Each acknowledgement was put back among all deliveries: 16 s, in which nobody was served.
TEST_F(HostileClients, ManyAcknowledgementsAreRolledBackAtOnce) {
  constexpr int kMessages = 80'000;
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  channel.declare("q");
  for (int i = 0; i < kMessages; ++i) channel.publish("q", "");
  channel.call(amqp_test::tx_select());
  channel.consume("q");
  channel.deliveries(kMessages);
  for (int i = 1; i <= kMessages / 2; ++i) channel.ack(i);
  channel.send(amqp_test::tx_rollback());
  expect_served();
  channel.take(AMQP_TX_ROLLBACK_OK_METHOD);
}

// The headers were indexed again for each binding.
TEST_F(HostileClients, ThousandsOfHeadersMeetThousandsOfBindings) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  channel.declare("q");
  amqp_test::Table wanted;
  for (int i = 0; i < 17; ++i) wanted.push_back({"h" + std::to_string(i), true});
  wanted.push_back({"never", true});
  for (int i = 0; i < 1000; ++i) {
    channel.send(amqp_test::queue_bind("q", "amq.headers", std::to_string(i), wanted));
  }
  channel.sync();
  amqp_test::Properties many;
  many.headers.emplace();
  for (int i = 0; i < 12'000; ++i) many.headers->push_back({"h" + std::to_string(i), true});
  for (int i = 0; i < 10; ++i) channel.publish("amq.headers", "", "", many);
  expect_served();
  channel.sync();
}

// Every key was matched by exchanges that look at none, and by all patterns of a topic exchange.
TEST_F(HostileClients, ThousandsOfCopyKeysMeetThousandsOfQueues) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  for (int i = 0; i < 2000; ++i) {
    const std::string queue = "copies." + std::to_string(i);
    channel.send(amqp_test::queue_declare(queue, {.exclusive = true}));
    channel.send(amqp_test::queue_bind(queue, "amq.fanout", ""));
    channel.send(amqp_test::queue_bind(queue, "amq.topic", "#"));
  }
  channel.sync();
  std::vector<amqp_test::Value> keys;
  for (int i = 0; i < 10'000; ++i) keys.emplace_back(std::to_string(i));
  const amqp_test::Properties copies{.headers = amqp_test::Table{{"CC", keys}}};
  for (int i = 0; i < 30; ++i) {
    channel.publish("amq.fanout", "", "", copies);
    channel.publish("amq.topic", "", "", copies);
  }
  expect_served();
  channel.sync();
  expect_growth_below(128 * kMiB);
}

// Binding, unbinding and deleting looked at all other bindings.
TEST_F(HostileClients, ManyBindingsOfOneQueueComeAndGo) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  const auto began = SteadyClock::now();
  for (const std::string exchange : {"amq.topic", "amq.fanout", "amq.headers", "amq.direct"}) {
    channel.declare("q");
    for (int i = 0; i < kManyBindings; ++i) {
      channel.send(amqp_test::queue_bind("q", exchange, "", {{"n", i}}));
      if (i % 1000 == 0) channel.sync();
    }
    channel.sync();
    channel.send(amqp_test::queue_delete("q"));
    expect_served();
    channel.take(AMQP_QUEUE_DELETE_OK_METHOD);
  }
  EXPECT_LT(SteadyClock::now() - began, Seconds(60));  // It was twice that.
}

TEST_F(HostileClients, AChainOfAutoDeleteExchangesGoesOneAfterTheOther) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  channel.declare("q");
  std::string last = "q";
  for (int i = 0; i < 30'000; ++i) {
    const std::string name = "chain." + std::to_string(i);
    channel.send(
        amqp_test::exchange_declare(name, "fanout", {.auto_delete = true, .nowait = true}));
    if (i == 0) {
      channel.bind(last, name, "");
    } else {
      channel.call(amqp_test::exchange_bind(last, name, ""));
    }
    last = name;
  }
  channel.sync();
  channel.call(amqp_test::queue_delete("q"));
  EXPECT_EQ(channel.try_call(amqp_test::exchange_declare(last, "fanout", {.passive = true})), 404);
  expect_served();
}

TEST_F(HostileClients, ABodyOfTwoGibibytesIsRefusedBeforeItComes) {
  const auto client = broker_.connect();
  Channel channel = client->channel(1);
  channel.send(amqp_test::basic_publish("", "q"));
  client->send_header(1, uint64_t{2} << 30);
  channel.expect_close(406, AMQP_BASIC_PUBLISH_METHOD);
  expect_served();
  expect_growth_below(8 * kMiB);
}

TEST_F(HostileClients, BodiesThatNeverComeReserveNothing) {
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(broker_.connect());
    Channel channel = clients.back()->channel(1);
    channel.send(amqp_test::basic_publish("", "q"));
    clients.back()->send_header(1, 100 * kMiB);
  }
  expect_served();
  expect_growth_below(100 * kMiB);
}

}  // namespace
}  // namespace postoffice::faults_test
