#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// Declaring, binding and deleting exchanges; AMQP 0-9-1 section 1.6.
class ExchangesTest : public ChannelTest {
 protected:
  void SetUp() override {
    ChannelTest::SetUp();
    x_ = exchange_name();
  }
  const std::string& x() const { return x_; }

 private:
  std::string x_;
};
INSTANTIATE_ON_ENGINES(ExchangesTest);

TEST_P(ExchangesTest, PredeclaredOnesAreThere) {
  for (const auto& [name, type] :
       std::vector<std::pair<std::string, std::string>>{{"amq.direct", "direct"},
                                                        {"amq.fanout", "fanout"},
                                                        {"amq.topic", "topic"},
                                                        {"amq.headers", "headers"},
                                                        {"amq.match", "headers"}}) {
    ch().declare_exchange(name, type, {.passive = true});
    ch().declare_exchange(name, type, {.durable = true});
  }
}

TEST_P(ExchangesTest, MissingPassiveIs404) {
  ch().refuses(exchange_declare(x(), "direct", {.passive = true}), 404);
}

TEST_P(ExchangesTest, PassiveDeclareComparesNothing) {
  ch().declare_exchange(x(), "direct", {.durable = true});
  ch().declare_exchange(x(), "fanout", {.passive = true});
}

TEST_P(ExchangesTest, EquivalentRedeclareIsFine) {
  ch().declare_exchange(x(), "topic", {.durable = true, .arguments = {{"own", "a"}}});
  ch().declare_exchange(x(), "topic", {.durable = true, .arguments = {{"own", "b"}}});
}

TEST_P(ExchangesTest, MismatchIs406) {
  ch().declare_exchange(x(), "topic");
  ch().refuses(exchange_declare(x(), "direct"), 406);
  ch().refuses(exchange_declare(x(), "topic", {.durable = true}), 406);
  ch().refuses(exchange_declare(x(), "topic", {.auto_delete = true}), 406);
  ch().refuses(exchange_declare(x(), "topic", {.internal = true}), 406);
  ch().refuses(
      exchange_declare(x(), "topic", {.arguments = {{"alternate-exchange", "amq.fanout"}}}), 406);
}

TEST_P(ExchangesTest, BadAlternateExchangeIs406) {
  ch().refuses(exchange_declare(x(), "topic", {.arguments = {{"alternate-exchange", 1}}}), 406);
}

TEST_P(ExchangesTest, UnknownTypeIsRefused) {
  ch().send(exchange_declare(x(), "unheard-of"));
  if (engine().is_rabbitmq()) {  // Until 3.12.
    client().expect_connection_close(503, AMQP_EXCHANGE_DECLARE_METHOD);
  } else {
    client().expect_either_close(1, 503, 406, AMQP_EXCHANGE_DECLARE_METHOD);
  }
}

TEST_P(ExchangesTest, NamesOfTheBrokerAre403) {
  ch().refuses(exchange_declare("amq.mine", "direct"), 403);
}

TEST_P(ExchangesTest, DefaultExchangeIsUntouchable) {
  ch().declare_exchange(x(), "direct");
  ch().refuses(exchange_declare("", "direct", {.durable = true}), 403);
  ch().refuses(exchange_delete(""), 403);
  ch().refuses(exchange_bind(x(), "", "k"), 403);
  ch().refuses(exchange_bind("", x(), "k"), 403);
  ch().refuses(exchange_unbind(x(), "", "k"), 403);
  ch().refuses(exchange_unbind("", x(), "k"), 403);
}

TEST_P(ExchangesTest, PredeclaredOnesCannotBeDeleted) {
  for (const char* name : {"amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"}) {
    ch().refuses(exchange_delete(name), 403);
  }
}

TEST_P(ExchangesTest, DeletingOrUnbindingWhatIsMissingIsFine) {
  ch().call(exchange_delete(x()));
  ch().call(exchange_unbind(x(), "amq.direct", "k"));
  ch().declare_exchange(x(), "direct");
  ch().call(exchange_unbind(x(), "amq.direct", "k"));
  ch().call(exchange_unbind(x(), "no such exchange", "k"));
}

TEST_P(ExchangesTest, BindingMissingExchangesIs404) {
  ch().declare_exchange(x(), "direct");
  ch().refuses(exchange_bind(x(), "no such exchange", "k"), 404);
  ch().refuses(exchange_bind("no such exchange", x(), "k"), 404);
}

TEST_P(ExchangesTest, DeleteIfUnusedIs406WhileBound) {
  ch().declare_exchange(x(), "direct");
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), x(), "k");
  ch().refuses(exchange_delete(x(), {.if_unused = true}), 406);
  ch().call(queue_unbind(q(), x(), "k"));
  ch().call(exchange_delete(x(), {.if_unused = true}));
  ch().refuses(exchange_declare(x(), "direct", {.passive = true}), 404);
}

TEST_P(ExchangesTest, DeletingEndsItsBindings) {
  ch().declare_exchange(x(), "direct");
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), x(), "k");
  ch().call(exchange_delete(x()));
  ch().declare_exchange(x(), "direct");
  ch().publish(x(), "k", "lost", {}, {.mandatory = true});
  EXPECT_EQ(ch().returned().body, "lost");
}

TEST_P(ExchangesTest, AutoDeleteOneGoesWithItsLastBinding) {
  ch().declare_exchange(x(), "direct", {.auto_delete = true});
  ch().declare_exchange(x(), "direct", {.passive = true});  // Lives before its first.
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), x(), "1");
  ch().bind(q(), x(), "2");
  ch().call(queue_unbind(q(), x(), "1"));
  ch().declare_exchange(x(), "direct", {.passive = true});
  ch().call(queue_unbind(q(), x(), "2"));
  ch().refuses(exchange_declare(x(), "direct", {.passive = true}), 404);
}

TEST_P(ExchangesTest, AutoDeleteOneGoesWithItsLastQueue) {
  ch().declare_exchange(x(), "direct", {.auto_delete = true});
  ch().declare(q(), {.exclusive = true});
  ch().bind(q(), x(), "k");
  ch().call(queue_delete(q()));
  ch().refuses(exchange_declare(x(), "direct", {.passive = true}), 404);
}

TEST_P(ExchangesTest, AutoDeleteOneGoesWithTheExchangeBoundToIt) {
  ch().declare_exchange(x(), "direct", {.auto_delete = true});
  const std::string target = exchange_name("target");
  ch().declare_exchange(target, "direct");
  ch().call(exchange_bind(target, x(), "k"));
  ch().call(exchange_delete(target));
  ch().refuses(exchange_declare(x(), "direct", {.passive = true}), 404);
}

}  // namespace
}  // namespace postoffice::amqp_test
