#pragma once

#include <amqp.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace postoffice::fuzz {

// An AMQP client on a loopback port, which sends anything and reads what the broker answers: that
// must be frames with methods that librabbitmq can read. It aborts the process when it is not, and
// when the broker lets it wait for a quarter of a minute.
class Client {
 public:
  explicit Client(uint16_t port);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The whole handshake, which the broker takes.
  void open(bool with_capabilities, uint32_t frame_max);
  void send(std::string_view bytes);
  void send_frame(uint8_t type, uint16_t channel, std::string_view payload);
  // What was sent before has been handled, and was answered.
  void settle();
  // Nothing more is sent: waits until the broker has closed the connection.
  void finish();
  // After bytes that are no frames, nobody can say when they have been handled.
  void has_sent_bytes() { in_frames_ = false; }

 private:
  bool wait(short events);
  void receive();
  void handle_frames();
  void handle_method(uint16_t channel, uint32_t method, std::string_view arguments);
  void await(uint16_t channel, uint32_t method);

  int socket_ = -1;
  std::string received_;
  std::set<std::pair<uint16_t, uint32_t>> methods_;  // That came, and on which channel.
  bool in_frames_ = false;
  bool ended_ = false;    // The broker closed the socket.
  bool closing_ = false;  // It sent connection.close.
  std::unique_ptr<amqp_pool_t, void (*)(amqp_pool_t*)> pool_;
};

}  // namespace postoffice::fuzz
