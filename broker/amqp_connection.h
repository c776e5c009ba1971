#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "base/wakeup.h"
#include "broker/amqp_url.h"
#include "broker/interrupt.h"

namespace postoffice {

// The broker refused the login: wrong password, unknown vhost. Somebody may set it right, so it is
// tried again like any other Transient.
class LoginRefused : public Transient {
 public:
  using Transient::Transient;
};

// One AMQP 0-9-1 connection. One connection, one thread.
//
// librabbitmq logs in, decodes and encodes. Sending, waiting and heartbeats are done here, because
// librabbitmq waits inside amqp_basic_publish when the socket is full, for as long as the broker
// shows signs of life: a broker with a memory alarm would hold the thread until the alarm is over,
// with confirms unread. Here nothing that is sent waits for the socket.
//
// Announces the capabilities connection.blocked, consumer_cancel_notify, basic.nack,
// publisher_confirms and authentication_failure_close. A broker that is silent for twice the
// heartbeat, less a twentieth, is given up: 19 s.
class AmqpConnection {
 public:
  struct Options {
    AmqpUrl url;
    std::string name;  // Shown by the broker as connection_name: "postoffice serve publisher".
    Millis connect_timeout{3000};
    Millis handshake_timeout{5000};
    Millis rpc_timeout{5000};
    std::chrono::seconds heartbeat{10};  // At most: the broker may ask for less.
    // Once fired, everything fails at once. Outlives the connection; may be null.
    Interrupt* interrupt = nullptr;
  };

  // Connects and logs in. Throws Transient, LoginRefused among them, with address and what failed
  // (no user, no password).
  explicit AmqpConnection(const Options& options);
  ~AmqpConnection();  // Closes politely if the connection is still good, in at most a second.
  AmqpConnection(const AmqpConnection&) = delete;
  AmqpConnection& operator=(const AmqpConnection&) = delete;

  // For librabbitmq's own calls, which may block, and must not be mixed with unsent frames.
  amqp_connection_state_t state() const { return state_.get(); }
  // "RabbitMQ 3.10.8" from server-properties; major version 0 when not given.
  const std::string& product() const { return product_; }
  int major_version() const { return major_version_; }
  const std::string& address() const { return address_; }

  void open_channel(amqp_channel_t channel);

  // --- Sending. What is sent waits in memory until flush() or wait() could write it.

  // `fields` is the amqp_..._t of the method `id`.
  void send_method(amqp_channel_t channel, amqp_method_number_t id, const void* fields);
  // basic.publish with its content.
  void send_message(amqp_channel_t channel, const amqp_basic_publish_t& publish,
                    const amqp_basic_properties_t& properties, std::string_view body);
  // Writes what the socket takes without waiting.
  void flush();
  size_t unsent_bytes() const { return unsent_.size() - unsent_offset_; }

  // --- Receiving. The memory a frame points to stays until release_buffers().

  // Waits until there is something to read, `wakeup` (may be null) rings, or `deadline`. Meanwhile
  // writes what is unsent and keeps up heartbeats. With `reading` false, what the broker sends is
  // left in the socket. Throws Transient on a lost or silent connection.
  void wait(const Wakeup* wakeup, SteadyClock::time_point deadline, bool reading = true);
  // So long has nothing been read that the next wait() must be with `reading`, or a broker that is
  // gone is never noticed.
  bool must_read() const;
  // The next frame of those that wait() found. connection.close is answered and thrown as
  // Transient.
  std::optional<amqp_frame_t> received_frame();
  // The next frame if it arrives within `timeout` (0: only what is here).
  std::optional<amqp_frame_t> next_frame(Millis timeout);
  // Memory of frames returned before is given back to the pool.
  void release_buffers();

  // --- Requests with an answer.

  struct Reply {
    // amqp_..._t of the answer, valid until release_buffers(); null after a channel exception.
    const void* fields = nullptr;
    int code = 0;  // Of the channel exception: 404, 406, ...; the channel is closed then.
    std::string text;
  };
  // Sends `fields` and waits for the answer, at most rpc_timeout. Other frames that arrive
  // meanwhile are kept for received_frame(). Throws Transient, naming `doing`, when the connection
  // is lost or there is no answer in time.
  Reply rpc(amqp_channel_t channel, amqp_method_number_t id, const void* fields,
            amqp_method_number_t reply_id, const char* doing);

  // --- For users of state().

  // Throws Transient, naming `doing`, if the last RPC on the connection failed; the code of a
  // channel exception (404, 406, ...) is returned instead, the channel being closed then; 0 is
  // success.
  int check_rpc(const amqp_rpc_reply_t& reply, const char* doing);
  // Throws Transient when `status` (a value of amqp_status_enum) is an error.
  static void check_status(int status, const char* doing);

 private:
  struct Close {
    void operator()(amqp_connection_state_t state) const noexcept {
      amqp_destroy_connection(state);
    }
  };
  // Detaches before state_ closes the socket.
  struct Detach {
    void operator()(Interrupt* interrupt) const noexcept { interrupt->detach(); }
  };

  void connect(const Options& options);
  void log_in(const Options& options);
  void read_server_properties();
  void close_politely();
  Millis most_silence() const;
  std::optional<amqp_frame_t> read_frame();
  void poll_socket(const Wakeup* wakeup, SteadyClock::time_point deadline, bool reading);
  void append_frame(uint8_t type, amqp_channel_t channel, std::string_view payload);
  [[noreturn]] void fail(const std::string& why);

  const std::string address_;
  const Millis rpc_timeout_;
  std::unique_ptr<amqp_connection_state_t_, Close> state_;
  std::unique_ptr<Interrupt, Detach> attached_;
  int fd_ = -1;
  std::string product_;
  int major_version_ = 0;
  size_t frame_max_ = 0;
  Millis heartbeat_{0};  // 0: none.
  bool failed_ = false;

  std::string unsent_;  // Whole frames; the first `unsent_offset_` bytes are written.
  size_t unsent_offset_ = 0;
  std::string write_error_;  // Nothing is written any more; what arrived before is still read.
  std::vector<char> scratch_;
  SteadyClock::time_point last_sent_;

  bool readable_ = false;  // poll(2) said so, and nothing was read since.
  SteadyClock::time_point last_received_;
  std::deque<amqp_frame_t> early_;  // Arrived while rpc() waited for another.
};

// For the arguments of methods: `text` must outlive their use.
amqp_bytes_t amqp_bytes(std::string_view text);
std::string_view amqp_text(amqp_bytes_t bytes);
// "404 NOT_FOUND - no exchange 'x'", of a channel.close.
std::string close_text(const amqp_channel_close_t& close);

}  // namespace postoffice
