#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/amqp/channel.h"
#include "tests/faults/broker_process.h"

namespace postoffice::faults_test {
namespace {

using amqp_test::Channel;

// A limit on the size of files is a disk that is full: the same error to whoever writes.
void limit_files(pid_t pid, rlim_t bytes) {
  rlimit limit{};
  ASSERT_EQ(prlimit(pid, RLIMIT_FSIZE, nullptr, &limit), 0);
  limit.rlim_cur = bytes;
  ASSERT_EQ(prlimit(pid, RLIMIT_FSIZE, &limit, nullptr), 0);
}

TEST(FullDisk, HoldsPublishersBackUntilThereIsRoomAndLosesNothing) {
  BrokerProcess broker(64 << 20);
  broker.start();
  broker.await();
  const auto client = broker.connect();
  Channel channel = client->channel(1);
  channel.declare("q", {.durable = true});
  channel.confirm_select();
  channel.publish("q", "first", amqp_test::persistent());
  EXPECT_TRUE(channel.confirms().empty());

  limit_files(broker.pid(), 4096);
  for (int i = 0; i < 20; ++i) {
    channel.publish("q", std::string(10'000, 'x'), amqp_test::persistent());
  }
  const auto blocked = client->take(0, AMQP_CONNECTION_BLOCKED_METHOD);
  EXPECT_FALSE(client->has_event(1)) << "confirmed without room on disk";
  // Who only takes is served on.
  const auto consumer = broker.connect();
  Channel consuming = consumer->channel(1);
  consuming.declare("q", {.durable = true});
  EXPECT_EQ(consuming.get("q").value().body, "first");

  limit_files(broker.pid(), RLIM_INFINITY);
  client->take(0, AMQP_CONNECTION_UNBLOCKED_METHOD);
  EXPECT_TRUE(channel.confirms().empty());
  broker.restart();
  EXPECT_EQ(broker.connect()->channel(1).ready("q"), 20u);
}

}  // namespace
}  // namespace postoffice::faults_test
