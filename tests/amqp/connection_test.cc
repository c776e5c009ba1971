#include <gmock/gmock.h>

#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

using std::literals::string_view_literals::operator""sv;

// AMQP 0-9-1 section 2.2.4 and RabbitMQ's ways of refusing.
class ConnectionTest : public EngineTest {
 protected:
  // Everything up to tune-ok, which has these.
  Client& tuned(const OpenOptions& options) {
    Client& client = connect();
    client.tune(options, client.log_in(options));
    return client;
  }
};
INSTANTIATE_ON_ENGINES(ConnectionTest);

TEST_P(ConnectionTest, AnswersAWrongProtocolHeaderWithItsOwn) {
  for (const auto header : {"AMQP\0\1\0\0"sv, "AMQP\0\0\x09\x02"sv, "GET / HTTP/1.1\r\n\r\n"sv}) {
    Client& client = connect();
    client.send_bytes(header);
    EXPECT_EQ(client.read_bytes(8), "AMQP\0\0\x09\x01"sv);
    client.expect_eof();
  }
}

TEST_P(ConnectionTest, StartsWithVersionMechanismsAndLocales) {
  const Event event = connect().start();
  const auto& start = event.as<amqp_connection_start_t>();
  EXPECT_EQ(start.version_major, 0);
  EXPECT_EQ(start.version_minor, 9);
  EXPECT_THAT(" " + to_string(start.mechanisms) + " ",
              testing::AllOf(testing::HasSubstr(" PLAIN "), testing::HasSubstr(" AMQPLAIN ")));
  EXPECT_EQ(to_string(start.locales), "en_US");
}

TEST_P(ConnectionTest, AnnouncesAllNineCapabilities) {
  const Event event = connect().start();
  const Table properties = from_wire(event.as<amqp_connection_start_t>().server_properties);
  EXPECT_NE(find(properties, "product"), nullptr);
  EXPECT_NE(find(properties, "version"), nullptr);
  const Value* capabilities = find(properties, "capabilities");
  ASSERT_NE(capabilities, nullptr);
  for (const char* name : {"publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                           "consumer_cancel_notify", "connection.blocked", "consumer_priorities",
                           "authentication_failure_close", "per_consumer_qos", "direct_reply_to"}) {
    const Value* value = find(capabilities->table, name);
    ASSERT_NE(value, nullptr) << name;
    EXPECT_EQ(*value, Value(true)) << name;
  }
  EXPECT_EQ(capabilities->table.size(), 9);
}

TEST_P(ConnectionTest, OpensWithPlainAndAmqplain) {
  for (const char* mechanism : {"PLAIN", "AMQPLAIN"}) open_client({.mechanism = mechanism}).close();
}

TEST_P(ConnectionTest, RefusesAWrongPasswordWith403) {
  for (const char* mechanism : {"PLAIN", "AMQPLAIN"}) {
    for (const char* user : {"guest", "nobody"}) {
      Client& client = connect();
      client.send_login({.mechanism = mechanism, .user = user, .password = "wrong"});
      client.expect_connection_close(403, 0);
    }
  }
}

// RabbitMQ does both after 3 s.
TEST_P(ConnectionTest, DropsALoginThatCannotBeAnswered) {
  Client& knows_no_403 = connect();
  Client& unknown_mechanism = connect();
  knows_no_403.send_login({.password = "wrong", .capabilities = {}});
  unknown_mechanism.send_login({.mechanism = "SHOUTING"});
  knows_no_403.expect_eof();
  unknown_mechanism.expect_eof();
}

TEST_P(ConnectionTest, RefusesAnUnknownVhostWith530) {
  Client& client = tuned({});
  client.send(0, connection_open("no such vhost"));
  client.expect_connection_close(530, AMQP_CONNECTION_OPEN_METHOD);
}

TEST_P(ConnectionTest, HasAnotherUserAndVhost) {
  engine().add_user_and_vhost();
  const OpenOptions other{.user = engine().other_user,
                          .password = engine().other_password,
                          .vhost = engine().other_vhost};
  Channel there = open_client(other).channel(1);
  Channel here = open_client({.user = other.user, .password = other.password}).channel(1);
  // Vhosts share no names.
  const std::string queue = queue_name();
  there.declare(queue, {.exclusive = true});
  here.refuses(queue_declare(queue, {.passive = true}), 404);
}

TEST_P(ConnectionTest, OffersItsLimits) {
  const Event event = connect().log_in();
  const auto& offer = event.as<amqp_connection_tune_t>();
  EXPECT_EQ(offer.channel_max, 2047);
  EXPECT_EQ(offer.frame_max, 131072U);
  EXPECT_EQ(offer.heartbeat, 60);
}

TEST_P(ConnectionTest, TakesLowerLimits) {
  open_client({.channel_max = 1, .frame_max = 4096, .heartbeat_s = 1}).close();
}

// RabbitMQ's connection.update-secret (10, 70) and its answer, which librabbitmq does not know.
TEST_P(ConnectionTest, TakesANewSecret) {
  Client& client = open_client();
  client.send_frame(1, 0, "\0\x0A\0\x46\0\0\0\x03new\x06reason"sv);
  EXPECT_EQ(client.read_frame().payload, "\0\x0A\0\x47"sv);
  client.close();
}

TEST_P(ConnectionTest, TakesAHeartbeatAboveTheOffer) { open_client({.heartbeat_s = 600}).close(); }

TEST_P(ConnectionTest, DropsATuneOkOverTheOfferOrTooLow) {
  Client& channels = tuned({.channel_max = 2048});
  Client& frames = tuned({.frame_max = 131073});
  Client& no_channels = tuned({.channel_max = 0});
  Client& tiny_frames = tuned({.frame_max = 4095});
  for (Client* client : {&channels, &frames, &no_channels, &tiny_frames}) client->expect_eof();
}

TEST_P(ConnectionTest, CountsOpenChannelsNotTheirNumbers) {
  Client& client = open_client({.channel_max = 2});
  client.channel(1000);
  Channel last = client.channel(65535);
  last.close();
  client.channel(7);
  client.send(8, channel_open());
  client.expect_connection_close(530, 0);
}

TEST_P(ConnectionTest, OpensAsManyChannelsAsItOffered) {
  Client& client = open_client();
  for (uint16_t number = 1; number <= 2047; ++number) client.send(number, channel_open());
  for (uint16_t number = 1; number <= 2047; ++number) {
    client.take(number, AMQP_CHANNEL_OPEN_OK_METHOD);
  }
  client.close();
}

TEST_P(ConnectionTest, AnswersCloseAndEnds) { open_client().close(); }

TEST_P(ConnectionTest, SurvivesAClientThatVanishes) {
  Channel channel = open_client().channel(1);
  const std::string queue = queue_name();
  Client& vanishing = open_client();
  vanishing.channel(1).declare(queue, {.exclusive = true});
  vanishing.drop();
  channel.sync();
}

TEST_P(ConnectionTest, ListensOnItsLoopbackAddresses) {
  for (const std::string& address : engine().loopbacks) {
    Client client(address, engine().port);
    client.open();
    client.close();
  }
}

TEST_P(ConnectionTest, SaysWhenPublishersAreBlocked) {
  Client& told = open_client();
  Client& ignorant = open_client({.capabilities = {}});
  const std::string queue = queue_name();
  Channel publisher = told.channel(1);
  publisher.declare(queue, {.exclusive = true});
  publisher.confirm_select();
  const std::shared_ptr<void> clear_at_the_end(nullptr,
                                               [this](void*) { engine().set_disk_alarm(false); });
  engine().set_disk_alarm(true);
  // RabbitMQ says it to those who publish.
  publisher.publish(queue, "waits");
  ignorant.channel(1).publish(queue, "waits too");
  told.take(0, AMQP_CONNECTION_BLOCKED_METHOD);
  engine().set_disk_alarm(false);
  told.take(0, AMQP_CONNECTION_UNBLOCKED_METHOD);
  publisher.confirms();
  ignorant.channel(2).sync();
  EXPECT_FALSE(ignorant.has_event(0));
}

}  // namespace
}  // namespace postoffice::amqp_test
