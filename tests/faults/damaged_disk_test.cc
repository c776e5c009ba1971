#include <gtest/gtest.h>

#include <fstream>

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

}  // namespace
}  // namespace postoffice::faults_test
