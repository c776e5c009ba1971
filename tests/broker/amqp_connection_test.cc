#include "broker/amqp_connection.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "tests/broker/amqp_test_broker.h"

namespace postoffice {
namespace {

// Takes connections, into the backlog, and never answers.
class SilentServer {
 public:
  SilentServer() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    url.host = "127.0.0.1";
    url.port = ntohs(address.sin_port);
    url.password = "hunter2";
  }
  ~SilentServer() { close(fd_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  AmqpUrl url;

 private:
  int fd_;
};

std::string error_of(const AmqpConnection::Options& options) {
  try {
    const AmqpConnection connection(options);
    return "";
  } catch (const Transient& error) {
    return error.what();
  }
}

TEST(AmqpConnection, ABrokerThatNeverAnswersIsGivenUp) {
  const SilentServer server;
  const auto start = SteadyClock::now();
  const auto error =
      error_of({.url = server.url, .name = "test", .handshake_timeout = Millis(200)});
  EXPECT_LT(SteadyClock::now() - start, Millis(10'000));
  EXPECT_EQ(error.find(server.url.address() + ": login failed: "), 0U) << error;
  EXPECT_EQ(error.find("hunter2"), std::string::npos);
}

TEST(AmqpConnection, AnInterruptEndsAHandshakeAtOnce) {
  const SilentServer server;
  Interrupt interrupt;
  const auto start = SteadyClock::now();
  std::thread other([&] {
    std::this_thread::sleep_for(Millis(100));  // Into the handshake; before it, it fails as well.
    interrupt.fire();
  });
  EXPECT_NE(error_of({.url = server.url,
                      .name = "test",
                      .handshake_timeout = Millis(60'000),
                      .interrupt = &interrupt}),
            "");
  EXPECT_LT(SteadyClock::now() - start, Millis(10'000));
  other.join();
  EXPECT_NE(error_of({.url = server.url, .name = "test", .interrupt = &interrupt}), "");
}

TEST(AmqpConnection, NobodyListening) {
  AmqpUrl url;
  {
    const SilentServer server;
    url = server.url;
  }
  EXPECT_NE(error_of({.url = url, .name = "test"}).find("Connection refused"), std::string::npos);
}

TEST(AmqpConnection, AnUnknownHostIsNamed) {
  AmqpUrl url;
  url.host = "no-such-host.invalid";
  EXPECT_NE(error_of({.url = url, .name = "test"}).find("cannot look up no-such-host.invalid"),
            std::string::npos);
}

// UBSan, which comes with ASan, needs files of its own to look at an exception.
#ifndef __SANITIZE_ADDRESS__
TEST(AmqpConnection, BeingOutOfFilesPasses) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  rlimit none = files;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  AmqpUrl url;
  url.host = "no-such-host.invalid";
  const auto error = error_of({.url = url, .name = "test"});
  setrlimit(RLIMIT_NOFILE, &files);
  EXPECT_NE(error.find("cannot look up no-such-host.invalid"), std::string::npos) << error;
}
#endif

class AmqpConnectionRabbitMq : public RabbitMqTest {
 protected:
  static AmqpConnection::Options options() { return {.url = test_url(), .name = "test"}; }
};

TEST_F(AmqpConnectionRabbitMq, KnowsTheProduct) {
  const AmqpConnection connection(options());
  EXPECT_EQ(connection.product().find("RabbitMQ 3."), 0U) << connection.product();
  EXPECT_EQ(connection.major_version(), 3);
  EXPECT_EQ(connection.address(), test_url().address());
}

TEST_F(AmqpConnectionRabbitMq, AWrongPasswordIsRefused) {
  auto wrong = options();
  wrong.url.password = "hunter2";
  EXPECT_THROW(AmqpConnection{wrong}, LoginRefused);
  const auto error = error_of(wrong);
  EXPECT_NE(error.find("403 ACCESS_REFUSED"), std::string::npos) << error;
  EXPECT_EQ(error.find("hunter2"), std::string::npos) << error;
}

TEST_F(AmqpConnectionRabbitMq, AnUnknownVhostIsRefused) {
  auto wrong = options();
  wrong.url.vhost = "nowhere";
  EXPECT_THROW(AmqpConnection{wrong}, LoginRefused);
}

TEST_F(AmqpConnectionRabbitMq, AnIdleConnectionLivesByHeartbeats) {
  auto quick = options();
  quick.heartbeat = std::chrono::seconds(3);  // RabbitMQ drops a silent client after 6 to 12 s.
  AmqpConnection connection(quick);
  connection.open_channel(1);
  EXPECT_FALSE(connection.next_frame(Millis(13'000)));
  connection.open_channel(2);
}

// Not reading, too: the consumer that is behind must not lose its deliveries.
TEST_F(AmqpConnectionRabbitMq, AConnectionThatDoesNotReadLivesByHeartbeats) {
  auto quick = options();
  quick.heartbeat = std::chrono::seconds(3);
  AmqpConnection connection(quick);
  const auto until = SteadyClock::now() + Millis(13'000);
  while (SteadyClock::now() < until) {
    const bool reading = connection.must_read();
    connection.wait(nullptr, until, reading);
    if (reading) {
      EXPECT_FALSE(connection.received_frame());
    }
  }
  connection.open_channel(1);
}

TEST_F(AmqpConnectionRabbitMq, AHangingBrokerIsNoticed) {
  disturb();
  auto quick = options();
  quick.heartbeat = std::chrono::seconds(3);
  for (const bool reading_always : {true, false}) {
    AmqpConnection connection(quick);
    pause_broker();
    const auto start = SteadyClock::now();
    try {
      while (SteadyClock::now() - start < Millis(30'000)) {
        const bool reading = reading_always || connection.must_read();
        connection.wait(nullptr, start + Millis(30'000), reading);
        if (reading) connection.received_frame();
      }
      ADD_FAILURE() << "not noticed";
    } catch (const Transient& error) {
      EXPECT_EQ(std::string(error.what()), "connection lost: no heartbeat from the broker");
      EXPECT_LE(SteadyClock::now() - start, Millis(15'000));
    }
    resume_broker();
  }
}

TEST_F(AmqpConnectionRabbitMq, ABrokerThatStopsReadingDoesNotKeepTheProcessorBusy) {
  disturb();
  auto quick = options();
  quick.heartbeat = std::chrono::seconds(4);
  AmqpConnection connection(quick);
  connection.open_channel(1);
  pause_broker();
  // Far more than the buffers of both sockets.
  amqp_basic_publish_t publish{};
  const amqp_basic_properties_t properties{};
  connection.send_message(1, publish, properties, std::string(64 << 20, 'x'));
  const auto start = SteadyClock::now();
  const auto until = start + Millis(30'000);
  int returns = 0;
  EXPECT_THROW(
      {
        for (; SteadyClock::now() < until; ++returns) {
          connection.wait(nullptr, until);
          while (connection.received_frame()) connection.release_buffers();
        }
      },
      Transient);
  EXPECT_GT(connection.unsent_bytes(), 0U);
  EXPECT_LT(returns, 100);
  EXPECT_GT(SteadyClock::now() - start, Millis(3000)) << "given up before a heartbeat was due";
}

TEST_F(AmqpConnectionRabbitMq, AKilledBrokerIsNoticedAtOnce) {
  disturb();
  for (const bool reading : {true, false}) {
    AmqpConnection connection(options());
    kill_broker();
    const auto start = SteadyClock::now();
    EXPECT_THROW(
        {
          connection.wait(nullptr, start + Millis(9000), reading);
          connection.received_frame();
        },
        Transient);
    EXPECT_LT(SteadyClock::now() - start, Millis(9000)) << "noticed by its heartbeats alone";
    start_broker();
  }
}

TEST_F(AmqpConnectionRabbitMq, AnInterruptEndsARequestAtOnce) {
  disturb();
  Interrupt interrupt;
  auto interruptible = options();
  interruptible.interrupt = &interrupt;
  interruptible.rpc_timeout = Millis(60'000);
  AmqpConnection connection(interruptible);
  pause_broker();
  const auto start = SteadyClock::now();
  std::thread other([&] {
    std::this_thread::sleep_for(Millis(100));
    interrupt.fire();
  });
  EXPECT_THROW(connection.open_channel(1), Transient);
  EXPECT_LT(SteadyClock::now() - start, Millis(10'000));
  other.join();
}

TEST_F(AmqpConnectionRabbitMq, AClosedConnectionTellsWhy) {
  AmqpConnection connection(options());
  connection.open_channel(1);
  services("rabbitmqctl", "close_all_connections 'for a test'");
  try {
    connection.next_frame(Millis(30'000));
    ADD_FAILURE() << "still open";
  } catch (const Transient& error) {
    EXPECT_NE(std::string(error.what()).find("320 CONNECTION_FORCED - for a test"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(AmqpConnectionRabbitMq, AChannelExceptionLeavesTheConnectionUsable) {
  AmqpConnection connection(options());
  connection.open_channel(7);
  amqp_queue_declare_t declare{};
  declare.queue = amqp_bytes("no such queue");
  declare.passive = 1;
  const auto reply = connection.rpc(7, AMQP_QUEUE_DECLARE_METHOD, &declare,
                                    AMQP_QUEUE_DECLARE_OK_METHOD, "queue.declare");
  EXPECT_EQ(reply.code, 404);
  EXPECT_EQ(reply.fields, nullptr);
  connection.open_channel(7);
}

}  // namespace
}  // namespace postoffice
