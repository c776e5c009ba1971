#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "tests/amqp/channel.h"
#include "tests/faults/broker_process.h"

namespace postoffice::faults_test {
namespace {

using amqp_test::Channel;

std::string body_of(int number) { return std::to_string(number) + std::string(200, 'x'); }

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void publish(Channel& channel, const std::string& queue, int count) {
  for (int i = 0; i < count; ++i) channel.publish(queue, body_of(i), amqp_test::persistent());
  EXPECT_TRUE(channel.confirms().empty());
}

// "passes" is for what makes room in the log; "stays" for what is to be moved then.
void declare_both(Channel& channel) {
  channel.declare("stays", {.durable = true});
  channel.declare("passes", {.durable = true});
  channel.confirm_select();
}

// Publishes and purges until the first segment of the log has gone.
void expect_first_segment_to_go(const BrokerProcess& broker, Channel& channel) {
  EXPECT_TRUE(e2e::eventually(e2e::Seconds(20), [&] {
    publish(channel, "passes", 100);
    channel.call(amqp_test::queue_purge("passes"));
    return !std::filesystem::exists(broker.log_folder() / "0000000001.log");
  }));
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
    declare_both(channel);
    publish(channel, "stays", kMessages);
  }
  broker.restart();  // So that their contents are on disk only.
  std::fstream(broker.log_folder() / "0000000001.log", std::ios::in | std::ios::out)
      .seekp(20'000)
      .write("damage", 6);

  const auto client = broker.connect();
  Channel channel = client->channel(1);
  channel.confirm_select();
  expect_first_segment_to_go(broker, channel);
  ASSERT_TRUE(broker.running()) << broker.output();
  EXPECT_NE(broker.output().find("a message is lost"), std::string::npos) << broker.output();
  EXPECT_EQ(channel.get_all("stays").size(), kMessages - 1U);
}

// The record that told of its delivery went with its first segment.
TEST(MovedMessage, IsStillRedeliveredAfterARestart) {
  BrokerProcess broker(64 << 10);
  broker.start();
  broker.await();
  const auto client = broker.connect();
  Channel channel = client->channel(1);
  declare_both(channel);
  publish(channel, "stays", 2);
  EXPECT_FALSE(channel.get("stays", false)->redelivered);
  expect_first_segment_to_go(broker, channel);
  broker.restart();
  const auto after = broker.connect();
  Channel again = after->channel(1);
  EXPECT_TRUE(again.get("stays")->redelivered);
  EXPECT_FALSE(again.get("stays")->redelivered);
}

// Behind a message that could not be read at the start, retention dropped others than it said.
TEST(DamagedDisk, AStreamWithAGapKeepsItsOffsets) {
  BrokerProcess broker(64 << 20);
  broker.start();
  broker.await();
  // 10 messages stay.
  const amqp_test::Table arguments = {{"x-queue-type", "stream"}, {"x-max-length-bytes", 2020}};
  const auto declare = [&](Channel& channel) {
    channel.declare("s", {.durable = true, .arguments = arguments});
    channel.confirm_select();
  };
  const auto offsets = [&broker](size_t count) {
    const auto client = broker.connect();
    Channel channel = client->channel(1);
    channel.qos(100);
    channel.consume("s", {.arguments = {{"x-stream-offset", "first"}}});
    std::vector<int64_t> found;
    for (size_t i = 0; i < count; ++i) {
      const auto message = channel.delivery();
      found.push_back(amqp_test::integer_of(message.headers(), "x-stream-offset"));
      EXPECT_EQ(message.body, body_of(static_cast<int>(found.back())));
    }
    channel.sync();
    channel.expect_nothing();
    return found;
  };
  const auto put = [&](int first, int last) {
    const auto client = broker.connect();
    Channel channel = client->channel(1);
    declare(channel);
    for (int i = first; i <= last; ++i) {
      channel.publish("s", body_of(i), amqp_test::persistent());
      EXPECT_TRUE(channel.confirms().empty());
    }
  };
  put(0, 8);
  broker.kill();
  const auto log = broker.log_folder() / "0000000001.log";
  const auto at = file_text(log).find(body_of(4));
  ASSERT_NE(at, std::string::npos);
  std::fstream(log, std::ios::in | std::ios::out).seekp(static_cast<std::streamoff>(at)) << "x";
  broker.start();
  broker.await();
  EXPECT_EQ(offsets(8), (std::vector<int64_t>{0, 1, 2, 3, 5, 6, 7, 8}));

  put(9, 12);  // For the last two of them, the first two go.
  const std::vector<int64_t> left = {2, 3, 5, 6, 7, 8, 9, 10, 11, 12};
  EXPECT_EQ(offsets(10), left);
  broker.restart();
  EXPECT_EQ(offsets(10), left);
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
  broker.restart();  // So that their contents are on disk only.
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
