#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "tests/amqp/engine.h"
#include "tests/amqp/methods.h"
#include "tests/amqp/properties.h"
#include "tests/amqp/table.h"

namespace postoffice::amqp_test {

class Channel;

// AMQP 0-9-1 section 4.2.3.
struct Frame {
  uint8_t type = 0;
  uint16_t channel = 0;
  std::string payload;
};

// A method that came, with its content if it has one.
struct Event {
  uint16_t channel = 0;
  amqp_method_number_t id = 0;
  Pool pool;
  void* decoded = nullptr;
  Properties properties = {};
  std::string body = {};

  // The method's fields; amqp_basic_deliver_t for AMQP_BASIC_DELIVER_METHOD.
  template <typename Wire>
  const Wire& as() const {
    return *static_cast<const Wire*>(decoded);
  }
};

// The capabilities that a client can announce (RabbitMQ's extensions).
Table client_capabilities();

struct OpenOptions {
  std::string mechanism = "PLAIN";
  std::string user = "guest";
  std::string password = "guest";
  std::string vhost = "/";
  // What the tune-ok asks for: nothing is what was offered.
  std::optional<uint16_t> channel_max = {};
  std::optional<uint32_t> frame_max = {};
  uint16_t heartbeat_s = 0;
  Table capabilities = client_capabilities();
};

// A blocking AMQP 0-9-1 client on a plain TCP socket, which can send anything. Every wait ends
// after kDeadline with an exception, which fails the test. One thread.
class Client {
 public:
  static constexpr Millis kDeadline{20'000};

  // Connects; sends nothing yet.
  explicit Client(const Engine& engine) : Client(engine.host, engine.port) {}
  Client(const std::string& host, uint16_t port);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // How long a send may wait for the server to take it.
  void set_send_deadline(Millis deadline) { send_deadline_ = deadline; }

  // Bytes and frames.
  void send_bytes(std::string_view bytes);
  void send_frame(uint8_t type, uint16_t channel, std::string_view payload, uint8_t end = 206);
  void send(uint16_t channel, const Method& method);
  // A content header, and as many body frames as the connection's frame-max makes of the body.
  void send_header(uint16_t channel, uint64_t body_size, const Properties& properties = {},
                   uint16_t class_id = 60);
  void send_content(uint16_t channel, const Properties& properties, std::string_view body);
  std::string read_bytes(size_t count);
  // Any frame, heartbeats too.
  Frame read_frame();

  // The handshake step by step (AMQP 0-9-1 section 2.2.4).
  void send_protocol_header();
  Event start();  // Sends the protocol header, returns connection.start.
  void send_login(const OpenOptions& options);    // Waits for start, sends start-ok.
  Event log_in(const OpenOptions& options = {});  // The same, returns connection.tune.
  void tune(const OpenOptions& options, const Event& offer);
  // All of it.
  void open(const OpenOptions& options = {});

  // Opens that channel.
  Channel channel(uint16_t number);

  // The oldest event of the channel that was not taken yet, and the oldest with this id; others
  // stay. Throws when the server closes the channel or the connection instead.
  Event next(uint16_t channel);
  Event take(uint16_t channel, amqp_method_number_t id, amqp_method_number_t or_id = 0);
  // Whether an event of the channel, of this id, has been read and not taken.
  bool has_event(uint16_t channel, amqp_method_number_t id = 0) const;
  void forget_events(uint16_t channel);

  // connection.close with that reply code, class and method (0: none); answered with close-ok, then
  // the server closes the socket.
  void expect_connection_close(uint16_t code, amqp_method_number_t because_of);
  // connection.close with the one code or channel.close with the other, because of that method.
  void expect_either_close(uint16_t channel, uint16_t connection_code, uint16_t channel_code,
                           amqp_method_number_t because_of);
  // The end, after nothing else than perhaps a connection.close with one of these codes.
  void expect_end(const std::vector<uint16_t>& codes);
  // Reads what has come; whether the server has closed the connection.
  bool has_ended();
  // Nothing but heartbeats, then the end.
  void expect_eof();
  // connection.close, close-ok, and then the client closes the socket: RabbitMQ waits for that.
  void close();
  // Closes the socket without a word.
  void drop();

  uint32_t frame_max() const { return frame_max_; }

 private:
  // Nothing at the end of the stream. Throws at the deadline.
  std::optional<Frame> poll_frame(SteadyClock::time_point deadline);
  bool receive(SteadyClock::time_point deadline);
  // Reads frames until an event is complete.
  void read_event(const std::string& waiting_for);
  void add(const Frame& frame);

  struct Content {
    Event event;
    uint64_t missing = 0;
    bool has_header = false;
  };

  int socket_ = -1;
  Millis send_deadline_ = kDeadline;
  std::string received_;
  size_t used_ = 0;  // Of received_.
  uint32_t frame_max_ = 4096;
  std::deque<Event> events_;
  std::map<uint16_t, Content> contents_;  // By channel, on their way.
};

}  // namespace postoffice::amqp_test
