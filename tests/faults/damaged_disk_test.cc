#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/amqp/channel.h"
#include "tests/faults/broker_process.h"

namespace postoffice::faults_test {
namespace {

using amqp_test::Channel;

std::string body_of(int number) { return std::to_string(number) + std::string(200, 'x'); }

void publish(Channel& channel, const std::string& queue, int count) {
  for (int i = 0; i < count; ++i) channel.publish(queue, body_of(i), amqp_test::persistent());
  EXPECT_TRUE(channel.confirms().empty());
}

// The record was intact when the broker started, and is read again when its segment is freed.
TEST(DamagedDisk, AMessageThatCannotBeReadIsLostAlone) {
  constexpr int kMessages = 500;
  BrokerProcess broker(64 << 10);
  broker.start();
  broker.await();
  {
    const auto client = broker.connect();
    Channel channel = client->channel(1);
    channel.declare("stays", {.durable = true});
    channel.declare("passes", {.durable = true});
    channel.confirm_select();
    publish(channel, "stays", kMessages);
  }
  broker.kill();  // So that their contents are on disk only.
  broker.start();
  broker.await();
  std::fstream(broker.log_folder() / "0000000001.log", std::ios::in | std::ios::out)
      .seekp(20'000)
      .write("damage", 6);

  const auto client = broker.connect();
  Channel channel = client->channel(1);
  channel.confirm_select();
  for (int round = 0; round < 30; ++round) {  // Until the first segments have to go.
    publish(channel, "passes", 100);
    channel.call(amqp_test::queue_purge("passes"));
  }
  EXPECT_TRUE(e2e::eventually(e2e::Seconds(10), [&] {
    channel.call(amqp_test::queue_purge("passes"));
    return !std::filesystem::exists(broker.log_folder() / "0000000001.log");
  }));
  ASSERT_TRUE(broker.running()) << broker.output();
  EXPECT_NE(broker.output().find("a message is lost"), std::string::npos) << broker.output();
  EXPECT_EQ(channel.get_all("stays").size(), kMessages - 1U);
}

// Here because the file of the log cannot be opened for a while.
TEST(DamagedDisk, WhatCannotBeReadNowIsDeliveredLater) {
  constexpr int kMessages = 5;
  BrokerProcess broker(64 << 10);
  broker.start();
  broker.await();
  {
    const auto client = broker.connect();
    Channel channel = client->channel(1);
    channel.declare("dead", {.durable = true});
    channel.declare("consumed", {.durable = true});
    channel.declare("expires", {.durable = true,
                                .arguments = {{"x-message-ttl", 10'000},
                                              {"x-dead-letter-exchange", ""},
                                              {"x-dead-letter-routing-key", "dead"}}});
    channel.declare("read", {.durable = true, .arguments = {{"x-queue-type", "stream"}}});
    channel.confirm_select();
    for (const char* name : {"consumed", "expires", "read"}) publish(channel, name, kMessages);
  }
  broker.kill();  // So that their contents are on disk only.
  broker.start();
  broker.await();
  const auto log = broker.log_folder() / "0000000001.log";
  const auto away = broker.log_folder().parent_path() / "away";
  std::filesystem::rename(log, away);
  std::filesystem::create_symlink(log, log);

  const auto client = broker.connect();
  Channel channel = client->channel(1);
  channel.qos(100);
  channel.consume("consumed", {.tag = "consumed"});
  channel.consume("read", {.tag = "read", .arguments = {{"x-stream-offset", "first"}}});
  for (const char* line : {"of queue consumed are delivered later", "of queue read are delivered",
                           "of queue expires are dead-lettered later"}) {
    EXPECT_TRUE(e2e::eventually(e2e::Seconds(40), [&] {
      return broker.output().find(line) != std::string::npos;
    })) << broker.output();
  }
  EXPECT_EQ(channel.ready("dead"), 0U);
  std::filesystem::rename(away, log);

  std::map<std::string, std::vector<std::string>> bodies;
  for (int i = 0; i < 2 * kMessages; ++i) {
    const auto delivery = channel.delivery();
    bodies[delivery.consumer_tag].push_back(delivery.body);
  }
  std::vector<std::string> all;
  for (int i = 0; i < kMessages; ++i) all.push_back(body_of(i));
  EXPECT_EQ(bodies["consumed"], all);
  EXPECT_EQ(bodies["read"], all);
  channel.await_ready("dead", kMessages);
}

}  // namespace
}  // namespace postoffice::faults_test
