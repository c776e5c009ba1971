#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <memory>

#include "base/metrics.h"
#include "broker/embedded/broker.h"
#include "tests/amqp/channel.h"
#include "tests/amqp/fixture.h"
#include "tests/broker/temp_folder.h"

namespace postoffice::amqp_test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// An embedded broker whose disk fails when the test says so.
class FailedDiskTest : public testing::Test {
 protected:
  FailedDiskTest() {
    options_.folder = folder_.path();
    options_.port = 0;
    options_.disk.fdatasync = [this](int fd) {
      if (!fails_) return fdatasync(fd);
      errno = EIO;
      return -1;
    };
    options_.failed = [this] { failed_ = true; };
    start();
  }
  ~FailedDiskTest() override { broker_.reset(); }

  void start() {
    broker_.reset();
    metrics_ = std::make_unique<Metrics>();
    broker_ = std::make_unique<embedded::Broker>(options_, *metrics_);
    broker_->start();
  }
  Client& connect() {
    clients_.push_back(std::make_unique<Client>("127.0.0.1", broker_->port()));
    clients_.back()->open();
    return *clients_.back();
  }
  // The broker finds out by what is published.
  void fail_disk(Channel& channel) {
    fails_ = true;
    channel.publish("q", "refused", persistent());
    EXPECT_THAT(channel.confirms(), testing::SizeIs(1));
    EXPECT_TRUE(failed_);
  }
  void repair_disk_and_restart() {
    clients_.clear();
    broker_->stop();
    fails_ = false;
    start();
  }

  const TempFolder folder_;
  std::atomic<bool> fails_ = false;
  std::atomic<bool> failed_ = false;
  embedded::Broker::Options options_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<embedded::Broker> broker_;
  std::vector<std::unique_ptr<Client>> clients_;
};

TEST_F(FailedDiskTest, PublishesAreRefusedAndConsumersGoOn) {
  Channel channel = connect().channel(1);
  channel.declare("q", {.durable = true});
  channel.confirm_select();
  channel.publish("q", "first", persistent());
  EXPECT_THAT(channel.confirms(), IsEmpty());
  fail_disk(channel);
  channel.publish("q", "second", persistent());
  EXPECT_THAT(channel.confirms(), testing::SizeIs(1));

  Client& other = connect();
  other.channel(1).publish("q", "third", persistent());
  other.expect_connection_close(541, AMQP_BASIC_PUBLISH_METHOD);
  Client& declares = connect();
  declares.channel(1).send(queue_declare("other", {.durable = true}));
  declares.expect_connection_close(541, AMQP_QUEUE_DECLARE_METHOD);

  EXPECT_EQ(channel.get("q")->body, "first");
}

// Each of them once stayed in memory.
TEST_F(FailedDiskTest, DeadLettersWaitForTheNextStart) {
  Channel channel = connect().channel(1);
  channel.declare("dead", {.durable = true});
  channel.declare(
      "q", {.durable = true,
            .arguments = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", "dead"}}});
  channel.confirm_select();
  for (const auto& body : numbered(1, 3)) channel.publish("q", body, persistent());
  EXPECT_THAT(channel.confirms(), IsEmpty());
  fail_disk(channel);
  for (int i = 0; i < 3; ++i) channel.nack(channel.get("q", false)->tag, {.requeue = false});
  EXPECT_EQ(channel.ready("dead"), 0U);

  repair_disk_and_restart();
  Channel after = connect().channel(1);
  EXPECT_THAT(after.get_all("q"), testing::IsSupersetOf(numbered(1, 3)));
  EXPECT_EQ(after.ready("dead"), 0U);
}

}  // namespace
}  // namespace postoffice::amqp_test
