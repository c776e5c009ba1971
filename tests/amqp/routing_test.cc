#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

// AMQP 0-9-1 section 3.1.3 and RabbitMQ's extensions.
class RoutingTest : public ChannelTest {
 protected:
  void SetUp() override {
    ChannelTest::SetUp();
    x_ = exchange_name();
  }
  const std::string& x() const { return x_; }

  void make(const std::string& type, const ExchangeOptions& options = {}) {
    ch().declare_exchange(x(), type, options);
    ch().declare(q(), {.exclusive = true});
    ch().confirm_select();
  }
  // How many copies of a message the queue gets.
  size_t copies(const std::string& key, const Properties& properties = {}) {
    ch().publish(x(), key, "x", properties);
    ch().confirms();
    return ch().get_all(q()).size();
  }
  size_t copies_with(const Table& headers) { return copies("", {.headers = headers}); }

 private:
  std::string x_;
};
class RoutingEmbeddedTest : public RoutingTest {};
INSTANTIATE_ON_ENGINES(RoutingTest);
INSTANTIATE_ON_EMBEDDED(RoutingEmbeddedTest);

TEST_P(RoutingTest, DefaultExchangeRoutesByQueueName) {
  make("direct");
  ch().publish(q(), "body");
  ch().confirms();
  const Message message = *ch().get(q());
  EXPECT_EQ(message.body, "body");
  EXPECT_EQ(message.exchange, "");
  EXPECT_EQ(message.key, q());
}

TEST_P(RoutingTest, DirectMatchesTheWholeKey) {
  make("direct");
  ch().bind(q(), x(), "a.b");
  EXPECT_EQ(copies("a.b"), 1U);
  EXPECT_EQ(copies("a"), 0U);
  EXPECT_EQ(copies("a.*"), 0U);
  EXPECT_EQ(copies(""), 0U);
}

TEST_P(RoutingTest, FanoutIgnoresTheKey) {
  make("fanout");
  ch().bind(q(), x(), "a");
  ch().bind(q(), x(), "b");
  EXPECT_EQ(copies("c"), 1U);
  EXPECT_EQ(copies(""), 1U);
}

TEST_P(RoutingTest, TopicWildcards) {
  const std::map<std::string, std::pair<std::vector<std::string>, std::vector<std::string>>> cases{
      {"#", {{"", "a", "a.b", ".", "a..b"}, {}}},
      {"*", {{"a", "abc"}, {"", "a.b", "."}}},
      {"a.*", {{"a.b", "a."}, {"a", "a.b.c", "b.a"}}},
      {"a.#", {{"a", "a.b", "a.b.c"}, {"", "b", "ab"}}},
      {"#.z", {{"z", "a.z", "a.b.z"}, {"", "z.a"}}},
      {"a.#.z", {{"a.z", "a.b.z", "a.b.c.z", "a.z.z"}, {"a", "z", "a.z.b"}}},
      {"#.#", {{"", "a", "a.b"}, {}}},
      {"*.#", {{"a", "a.b"}, {""}}},
      {"#.*.#", {{"a", "a.b.c"}, {""}}},
      {"*.*", {{"a.b", "."}, {"a", "a.b.c", ""}}},
      {"", {{""}, {"a"}}},
      {"a#", {{"a#"}, {"a", "a.b"}}},
  };
  make("topic");
  for (const auto& [pattern, keys] : cases) {
    ch().bind(q(), x(), pattern);
    for (const std::string& key : keys.first) EXPECT_EQ(copies(key), 1U) << pattern << " " << key;
    for (const std::string& key : keys.second) EXPECT_EQ(copies(key), 0U) << pattern << " " << key;
    ch().call(queue_unbind(q(), x(), pattern));
    EXPECT_EQ(copies("a"), 0U) << pattern << " unbound";
  }
}

TEST_P(RoutingTest, OneCopyAQueueWhateverTheNumberOfBindings) {
  make("topic");
  for (const char* pattern : {"a.b", "a.*", "a.#", "#"}) ch().bind(q(), x(), pattern);
  EXPECT_EQ(copies("a.b"), 1U);
}

TEST_P(RoutingTest, OneCopyAQueueThroughSeveralExchanges) {
  make("fanout");
  for (const char* suffix : {"left", "right"}) {
    const std::string between = exchange_name(suffix);
    ch().declare_exchange(between, "fanout");
    ch().call(exchange_bind(between, x(), ""));
    ch().bind(q(), between, "");
  }
  EXPECT_EQ(copies(""), 1U);
}

TEST_P(RoutingTest, ExchangeToExchangeKeepsKeyAndExchange) {
  make("topic");
  const std::string inner = exchange_name("inner");
  ch().declare_exchange(inner, "direct", {.internal = true});
  ch().call(exchange_bind(inner, x(), "a.*"));
  ch().bind(q(), inner, "a.b");
  ch().publish(x(), "a.b", "yes");
  ch().publish(x(), "a.c", "no");
  ch().publish(x(), "b", "no");
  ch().confirms();
  const Message message = *ch().get(q());
  EXPECT_EQ(message.body, "yes");
  EXPECT_EQ(message.exchange, x());
  EXPECT_EQ(message.key, "a.b");
  EXPECT_EQ(ch().ready(q()), 0U);
  ch().call(exchange_unbind(inner, x(), "a.*"));
  EXPECT_EQ(copies("a.b"), 0U);
}

TEST_P(RoutingTest, ExchangeCyclesEnd) {
  make("fanout");
  const std::string other = exchange_name("other");
  ch().declare_exchange(other, "fanout");
  ch().call(exchange_bind(other, x(), ""));
  ch().call(exchange_bind(x(), other, ""));
  ch().call(exchange_bind(x(), x(), ""));
  ch().bind(q(), other, "");
  EXPECT_EQ(copies(""), 1U);
}

TEST_P(RoutingTest, AlternateExchangeCyclesEnd) {
  make("direct", {.arguments = {{"alternate-exchange", x()}}});
  EXPECT_EQ(copies("nowhere"), 0U);
}

TEST_P(RoutingTest, HeadersAll) {
  make("headers");
  ch().bind(q(), x(), "", {{"x-match", "all"}, {"a", 1}, {"b", "two"}});
  EXPECT_EQ(copies_with({{"a", 1}, {"b", "two"}, {"c", true}}), 1U);
  EXPECT_EQ(copies_with({{"a", int64_t{1}}, {"b", "two"}}), 1U);
  EXPECT_EQ(copies_with({{"a", 1}}), 0U);
  EXPECT_EQ(copies_with({{"a", 1}, {"b", "three"}}), 0U);
  EXPECT_EQ(copies_with({{"a", "1"}, {"b", "two"}}), 0U);
  EXPECT_EQ(copies(""), 0U);
}

TEST_P(RoutingTest, HeadersAny) {
  make("headers");
  ch().bind(q(), x(), "", {{"x-match", "any"}, {"a", 1}, {"b", "two"}});
  EXPECT_EQ(copies_with({{"a", 1}}), 1U);
  EXPECT_EQ(copies_with({{"a", 2}, {"b", "two"}}), 1U);
  EXPECT_EQ(copies_with({{"a", 2}, {"b", "three"}}), 0U);
  EXPECT_EQ(copies(""), 0U);
}

TEST_P(RoutingTest, HeadersMatchAllByDefault) {
  make("headers");
  ch().bind(q(), x(), "", {{"a", 1}, {"b", 2}});
  EXPECT_EQ(copies_with({{"a", 1}, {"b", 2}}), 1U);
  EXPECT_EQ(copies_with({{"a", 1}}), 0U);
}

TEST_P(RoutingTest, HeadersBindingWithoutArgumentsMatchesEverything) {
  make("headers");
  ch().bind(q(), x(), "");
  EXPECT_EQ(copies_with({{"a", 1}}), 1U);
  EXPECT_EQ(copies("k"), 1U);
}

TEST_P(RoutingTest, HeadersIgnoreKeysThatBeginWithX) {
  make("headers");
  ch().bind(q(), x(), "", {{"x-match", "all"}, {"x-own", 1}, {"a", 1}});
  EXPECT_EQ(copies_with({{"a", 1}}), 1U);
}

TEST_P(RoutingTest, VoidInAHeadersBindingMeansPresence) {
  make("headers");
  ch().bind(q(), x(), "", {{"a", Value()}});
  EXPECT_EQ(copies_with({{"a", "anything"}}), 1U);
  EXPECT_EQ(copies_with({{"a", 1}}), 1U);
  EXPECT_EQ(copies_with({{"b", 1}}), 0U);
}

TEST_P(RoutingTest, BadHeadersMatchIs406) {
  make("headers");
  ch().refuses(queue_bind(q(), x(), "", {{"x-match", "most"}, {"a", 1}}), 406);
  ch().refuses(queue_bind(q(), x(), "", {{"x-match", 1}, {"a", 1}}), 406);
}

// All pairs of a binding's and a message's headers were compared: a tenth of a second a message.
// RabbitMQ: about the process that the tests are.
TEST_P(RoutingEmbeddedTest, ThousandsOfHeadersAreMatchedAtOnce) {
  const std::string x = exchange_name();
  ch().declare_exchange(x, "headers");
  ch().declare(q(), {.exclusive = true});
  Table table;
  for (int i = 12'000; i > 0; --i) table.push_back({std::to_string(i), true});
  ch().bind(q(), x, "", table);
  std::reverse(table.begin(), table.end());
  for (int i = 0; i < 100; ++i) ch().publish(x, "", "body", {.headers = table});
  EXPECT_EQ(ch().ready(q()), 100U);
}

TEST_P(RoutingTest, CopyHeadersRouteToMoreKeys) {
  make("direct");
  const std::string cc = queue_name("cc");
  const std::string bcc = queue_name("bcc");
  for (const auto& queue : {cc, bcc}) ch().declare(queue, {.exclusive = true});
  for (const auto& queue : {q(), cc, bcc}) ch().bind(queue, x(), queue);
  const Entry kept{"CC", std::vector<Value>{cc}};
  ch().publish(x(), q(), "body",
               {.headers = Table{kept, {"BCC", std::vector<Value>{bcc, cc}}, {"own", 1}}});
  ch().confirms();
  for (const auto& queue : {q(), cc, bcc}) {
    const Message message = *ch().get(queue);
    EXPECT_EQ(message.key, q());
    EXPECT_THAT(message.headers(), testing::UnorderedElementsAre(kept, Entry{"own", 1}));
    EXPECT_EQ(ch().ready(queue), 0U);
  }
}

TEST_P(RoutingTest, CopyHeadersWorkOnTheDefaultExchange) {
  make("direct");
  ch().publish("nowhere " + q(), "body", {.headers = Table{{"CC", std::vector<Value>{q()}}}});
  ch().confirms();
  EXPECT_EQ(ch().ready(q()), 1U);
}

// All keys of a message go with it from exchange to exchange, not only the one that matched.
TEST_P(RoutingTest, CopyKeysAreMatchedByEveryExchangeOnTheWay) {
  make("direct");
  const std::string second = exchange_name("second");
  ch().declare_exchange(second, "topic");
  ch().call(exchange_bind(second, x(), "first"));
  ch().bind(q(), second, "copy.#");
  EXPECT_EQ(copies("first", {.headers = Table{{"CC", std::vector<Value>{"copy.1"}}}}), 1U);
  EXPECT_EQ(copies("other", {.headers = Table{{"CC", std::vector<Value>{"copy.1"}}}}), 0U);
}

TEST_P(RoutingTest, AlternateExchangeGetsWhatNoCopyKeyMatches) {
  const std::string alternate = exchange_name("alternate");
  ch().declare_exchange(alternate, "fanout");
  make("direct", {.arguments = {{"alternate-exchange", alternate}}});
  const std::string rest = queue_name("rest");
  ch().declare(rest, {.exclusive = true});
  ch().bind(rest, alternate, "");
  ch().bind(q(), x(), "known");
  EXPECT_EQ(copies("unknown", {.headers = Table{{"CC", std::vector<Value>{"known"}}}}), 1U);
  EXPECT_EQ(ch().ready(rest), 0U);
  EXPECT_EQ(copies("unknown", {.headers = Table{{"CC", std::vector<Value>{"too"}}}}), 0U);
  EXPECT_EQ(ch().ready(rest), 1U);
}

}  // namespace
}  // namespace postoffice::amqp_test
