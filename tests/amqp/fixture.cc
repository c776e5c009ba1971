#include "tests/amqp/fixture.h"

#include <unistd.h>

#include <algorithm>

namespace postoffice::amqp_test {

void EngineTest::SetUp() {
  engine_ = GetParam()();
  if (engine_ == nullptr) GTEST_SKIP() << "TEST_AMQP_URL is not set: see scripts/services";
}

void EngineTest::TearDown() {
  clients_.clear();
  if (engine_ == nullptr || (queues_.empty() && exchanges_.empty())) return;
  Client client(*engine_);
  client.open({.user = engine_->user, .password = engine_->password});
  Channel channel = client.channel(1);
  // A queue that is exclusive to a connection just going away is refused.
  for (const std::string& queue : queues_) channel.try_call(queue_delete(queue));
  for (const std::string& exchange : exchanges_) channel.try_call(exchange_delete(exchange));
}

Client& EngineTest::connect() { return *clients_.emplace_back(std::make_unique<Client>(engine())); }

Client& EngineTest::open_client(const OpenOptions& options) {
  Client& client = connect();
  client.open(options);
  return client;
}

std::string EngineTest::unique(const std::string& suffix) const {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name() + "." +
                     std::to_string(getpid()) + "." + suffix;
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

std::string EngineTest::queue_name(const std::string& suffix) {
  return queues_.emplace_back(unique(suffix));
}

std::string EngineTest::exchange_name(const std::string& suffix) {
  return exchanges_.emplace_back(unique(suffix));
}

void ChannelTest::SetUp() {
  EngineTest::SetUp();
  if (IsSkipped()) return;
  client_ = &open_client();
  channel_ = std::make_unique<Channel>(client_->channel(1));
  queue_ = queue_name();
}

Channel ChannelTest::other_connection() { return open_client().channel(1); }

std::vector<std::string> numbered(int first, int last) {
  std::vector<std::string> numbers;
  for (int i = first; i <= last; ++i) numbers.push_back(std::to_string(i));
  return numbers;
}

}  // namespace postoffice::amqp_test
