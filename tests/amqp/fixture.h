#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/amqp/channel.h"
#include "tests/amqp/engine.h"
#include "tests/amqp/raw_client.h"

namespace postoffice::amqp_test {

// A test of one behaviour, run on every engine. For those about connections only.
class EngineTest : public testing::TestWithParam<EngineSource> {
 protected:
  void SetUp() override;
  void TearDown() override;

  const Engine& engine() const { return *engine_; }
  // A client that has not said a word, and one whose connection is open. Both live until the end of
  // the test.
  Client& connect();
  Client& open_client(const OpenOptions& options = {});

  // A name for a queue or exchange of this test, which is deleted after it.
  std::string queue_name(const std::string& suffix = "q");
  std::string exchange_name(const std::string& suffix = "x");

 private:
  std::string unique(const std::string& suffix) const;

  const Engine* engine_ = nullptr;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::string> queues_;
  std::vector<std::string> exchanges_;
};

// Has an open client and its channel 1, and a name for a queue.
class ChannelTest : public EngineTest {
 protected:
  void SetUp() override;

  Client& client() { return *client_; }
  Channel& ch() { return *channel_; }
  // Another channel, on a connection of its own.
  Channel other_connection();
  // queue_name("q").
  const std::string& q() const { return queue_; }

 private:
  Client* client_ = nullptr;
  std::unique_ptr<Channel> channel_;
  std::string queue_;
};

std::vector<std::string> numbered(int first, int last);  // "1", "2"...

}  // namespace postoffice::amqp_test

// Runs the TEST_Ps of a suite on RabbitMQ and on the embedded broker.
#define INSTANTIATE_ON_ENGINES(suite)                                    \
  INSTANTIATE_TEST_SUITE_P(RabbitMq, suite, testing::Values(&rabbitmq)); \
  INSTANTIATE_TEST_SUITE_P(Embedded, suite, testing::Values(&embedded))

// The same on the embedded broker only: where RabbitMQ does something else.
#define INSTANTIATE_ON_EMBEDDED(suite) \
  INSTANTIATE_TEST_SUITE_P(Embedded, suite, testing::Values(&embedded))
