#include "broker/embedded/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <string>
#include <unordered_set>
#include <utility>

#include "tests/broker/temp_folder.h"

namespace postoffice::embedded {
namespace {

using boost::asio::ip::tcp;

// A broker whose log becomes durable, and whose turns end, when the test says so.
class ScriptedBroker : public ConnectionHost, public Turn {
 public:
  explicit ScriptedBroker(const std::string& folder)
      : store_({{folder, 1 << 20}, 1 << 20}, {}), vhost_("/", store_, *this, next_queue_id_) {
    store_.recover();
  }

  bool knows(std::string_view /*user*/, std::string_view /*password*/,
             const boost::asio::ip::address& /*from*/) const override {
    return true;
  }
  VirtualHost* find_virtual_host(std::string_view /*name*/) override { return &vhost_; }
  MessageStore& store() override { return store_; }
  uint64_t durable() const override { return durable_up_to; }
  void send_later(Connection& /*connection*/) override {}
  void tell_durable(Connection& /*connection*/) override { waits = true; }
  const std::optional<std::string>& blocked() const override { return blocked_; }
  bool has_failed() const override { return false; }
  Load load() const override { return Load::kNormal; }
  bool receiving(int64_t more_bytes) override {
    received_bytes += more_bytes;
    return true;
  }
  void unsent(int64_t more_bytes) override { unsent_bytes += more_bytes; }
  bool is_crowded() const override { return crowded; }
  void ended(Connection& /*connection*/) override { has_ended = true; }
  void wake(Queue& queue) override { woken_.insert(&queue); }
  void call_at(Queue& /*queue*/, SteadyClock::time_point /*when*/) override {}

  void pump() {
    for (auto* const queue : std::exchange(woken_, {})) queue->pump();
  }

  uint64_t durable_up_to = 0;
  int64_t received_bytes = 0;  // Of messages that are not all there yet.
  int64_t unsent_bytes = 0;
  bool crowded = false;
  bool has_ended = false;
  bool waits = false;  // The connection asked to be told of what is durable.

 private:
  MessageStore store_;
  uint64_t next_queue_id_ = 1;
  VirtualHost vhost_;
  const std::optional<std::string> blocked_;
  std::unordered_set<Queue*> woken_;
};

// What a client sends to open channel 1.
std::string opened_channel() {
  std::string out("AMQP\0\0\x09\x01", 8);
  {
    MethodWriter writer(out, 0, AMQP_CONNECTION_START_OK_METHOD);
    FieldTable().write(*writer);
    writer->short_string("PLAIN").long_string({"\0guest\0guest", 12}).short_string("en_US");
  }
  MethodWriter(out, 0, AMQP_CONNECTION_TUNE_OK_METHOD)->u16(2047).u32(131'072).u16(0);
  MethodWriter(out, 0, AMQP_CONNECTION_OPEN_METHOD)->short_string("/").short_string("").octet(0);
  MethodWriter(out, 1, AMQP_CHANNEL_OPEN_METHOD)->short_string("");
  return out;
}

class ConnectionTest : public testing::Test {
 protected:
  void SetUp() override {
    client_.connect(acceptor_.local_endpoint());
    auto socket = acceptor_.accept();
    socket_ = socket.native_handle();
    connection_ = std::make_shared<Connection>(1, std::move(socket), broker_);
    connection_->start();
  }
  void TearDown() override {
    connection_->drop("");
    io_.poll();
  }

  void send(const std::string& bytes) { boost::asio::write(client_, boost::asio::buffer(bytes)); }
  // Lets the connection read until then; false when that takes too long.
  bool runs_until(const std::function<bool()>& condition) {
    const auto deadline = SteadyClock::now() + std::chrono::seconds(5);
    while (!condition() && SteadyClock::now() < deadline) io_.run_one_for(Millis(100));
    return condition();
  }
  // The last method that the client has got.
  uint32_t last_method() {
    io_.poll();
    std::string received(64 << 10, '\0');
    received.resize(client_.read_some(boost::asio::buffer(received)));
    uint32_t method = 0;
    for (std::string_view left = received; !left.empty();) {
      const auto frame = parse_frame(left, 131'072);
      if (frame.bytes == 0) break;
      method = WireReader(frame.payload).u32();
      left.remove_prefix(frame.bytes);
    }
    return method;
  }

  const TempFolder folder_;
  ScriptedBroker broker_{folder_.path()};
  boost::asio::io_context io_;
  tcp::acceptor acceptor_{io_, {boost::asio::ip::address_v4::loopback(), 0}};
  tcp::socket client_{io_};
  int socket_ = -1;  // The connection's.
  std::shared_ptr<Connection> connection_;
};

// Between being told of less than it waited for and the end of that turn, it waited for nothing:
// what became durable just then was never told, and the client hung.
TEST_F(ConnectionTest, WaitsOnWhenOnlyAPartIsDurable) {
  std::string out = opened_channel();
  {
    constexpr uint8_t kDurable = 2;
    MethodWriter writer(out, 1, AMQP_QUEUE_DECLARE_METHOD);
    writer->u16(0).short_string("q").octet(kDurable);
    FieldTable().write(*writer);
  }
  send(out);
  ASSERT_TRUE(runs_until([this] { return broker_.waits; }));
  ASSERT_GE(broker_.store().appended(), 1U);
  broker_.waits = false;
  connection_->durable(broker_.store().appended() - 1);
  EXPECT_TRUE(broker_.waits);
  broker_.durable_up_to = broker_.store().appended();
  connection_->durable(broker_.durable_up_to);
  connection_->send();
  EXPECT_EQ(last_method(), uint32_t{AMQP_QUEUE_DECLARE_OK_METHOD});
}

// Nothing bounded what a client published and did not commit.
TEST_F(ConnectionTest, UncommittedMessagesCountAsBeingReceived) {
  std::string out = opened_channel();
  { const MethodWriter writer(out, 1, AMQP_TX_SELECT_METHOD); }
  std::string publish;
  MethodWriter(publish, 1, AMQP_BASIC_PUBLISH_METHOD)
      ->u16(0)
      .short_string("")
      .short_string("")
      .octet(0);
  write_content(publish, 1, 131'072, Properties().write(), std::string(10'000, 'b'));
  send(out + publish + publish + publish);
  EXPECT_TRUE(runs_until([this] { return broker_.received_bytes > 30'000; }));
  std::string rollback;
  { const MethodWriter writer(rollback, 1, AMQP_TX_ROLLBACK_METHOD); }
  send(rollback);
  EXPECT_TRUE(runs_until([this] { return broker_.received_bytes == 0; }));
  send(publish);
  EXPECT_TRUE(runs_until([this] { return broker_.received_bytes > 10'000; }));
  connection_->drop("");
  EXPECT_EQ(broker_.received_bytes, 0);
}

// Nothing bounded what all connections together had to send.
TEST_F(ConnectionTest, WhereMuchIsUnsentEachHasLittleAndAllOfItComes) {
  constexpr int kMessages = 20;
  const std::string body(20'000, 'b');
  std::string out = opened_channel();
  {
    MethodWriter writer(out, 1, AMQP_QUEUE_DECLARE_METHOD);
    writer->u16(0).short_string("q").octet(0);
    FieldTable().write(*writer);
  }
  for (int i = 0; i < kMessages; ++i) {
    MethodWriter(out, 1, AMQP_BASIC_PUBLISH_METHOD)
        ->u16(0)
        .short_string("")
        .short_string("q")
        .octet(0);
    write_content(out, 1, 131'072, Properties().write(), body);
  }
  {
    constexpr uint8_t kNoAck = 2;
    MethodWriter writer(out, 1, AMQP_BASIC_CONSUME_METHOD);
    writer->u16(0).short_string("q").short_string("tag").octet(kNoAck);
    FieldTable().write(*writer);
  }
  broker_.crowded = true;
  send(out);
  size_t received = 0;
  EXPECT_TRUE(runs_until([&] {
    broker_.pump();
    EXPECT_LT(broker_.unsent_bytes, 60'000);
    connection_->send();
    io_.poll();
    std::string read(client_.available(), '\0');
    received += client_.read_some(boost::asio::buffer(read));
    return received > kMessages * body.size();
  }));
  EXPECT_EQ(broker_.unsent_bytes, 0);
}

// A close-ok that came with what was wrong waited for more bytes.
TEST_F(ConnectionTest, CloseOkBehindAnErrorEndsIt) {
  std::string out = opened_channel();
  MethodWriter(out, 0, AMQP_CONNECTION_OPEN_METHOD)->short_string("/").short_string("").octet(0);
  { const MethodWriter writer(out, 0, AMQP_CONNECTION_CLOSE_OK_METHOD); }
  send(out);
  const auto began = SteadyClock::now();
  EXPECT_TRUE(runs_until([this] { return broker_.has_ended; }));
  EXPECT_LT(SteadyClock::now() - began, Millis(3000));
}

TEST_F(ConnectionTest, AsksTheSystemWhetherAnIdleClientIsThere) {
  int on = 0;
  socklen_t bytes = sizeof(on);
  ASSERT_EQ(getsockopt(socket_, SOL_SOCKET, SO_KEEPALIVE, &on, &bytes), 0);
  EXPECT_NE(on, 0);
}

}  // namespace
}  // namespace postoffice::embedded
