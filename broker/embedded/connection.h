#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "broker/embedded/channel.h"
#include "broker/embedded/connection_host.h"
#include "broker/embedded/frame.h"

namespace postoffice::embedded {

// A client's connection: AMQP 0-9-1 section 2.2. Negotiates, cuts the bytes into frames, gives them
// to the channels, and sends what those write. Used on the broker's thread only.
class Connection final : public ChannelHost, public std::enable_shared_from_this<Connection> {
 public:
  Connection(uint64_t id, boost::asio::ip::tcp::socket socket, ConnectionHost& host);
  ~Connection() override;

  void start();
  // Sends connection.close and ends when the client has answered, or after a while.
  void close(ReplyCode code, const std::string& text);
  // Ends now. Everything unsettled goes back to its queue.
  void drop(const std::string& why);

  // --- Called by the broker
  // The log is durable up to here: confirms, replies and reading that waited for it go on.
  void durable(uint64_t sequence);
  // The end of a turn: sends what was written.
  void send();
  void refuse_unconfirmed();
  void blocked(const std::string& why);
  void unblocked();
  // What held it back may be over.
  void resume();
  // Each second: what a burst has made of its buffers is given back when it is over.
  void shrink();

  // --- ChannelHost
  uint64_t connection_id() const override { return id_; }
  const std::string& user() const override { return user_; }
  uint32_t frame_max() const override { return frame_max_; }
  bool client_takes_cancels() const override { return takes_cancels_; }
  VirtualHost& virtual_host() override { return *vhost_; }
  MessageStore& store() override;
  std::string& output() override;
  void content_written() override { count_unsent(); }
  bool is_full() const override;
  bool drops_replies() const override;
  void send_when_durable() override;
  void confirm_later() override;
  bool publishes() override;
  void receiving(int64_t more_bytes) override;

 private:
  enum class State { kHeader, kStartOk, kTuneOk, kOpen, kRunning, kClosing, kEnded };

  void read();
  void process();
  bool process_frames();
  bool may_process() const;
  void skip_to_close_ok();
  void protocol_header();
  void frame(const Frame& frame);
  void connection_method(uint32_t method, WireReader arguments);
  void channel_frame(const Frame& frame);
  void channel_method(Channel& channel, uint32_t method, WireReader arguments);
  void open_channel(uint16_t number);
  void end_channel(uint16_t number);
  void close_channel(Channel& channel, const ChannelError& error);

  void start_ok(WireReader& arguments);
  void refuse_login(const std::string& user);
  void tune_ok(WireReader& arguments);
  void open(WireReader& arguments);
  void client_closes();
  void end_soon();
  void beat();
  void write_now();
  void write();
  void written();
  size_t unsent() const { return output_.size() + writing_.size(); }
  void count_unsent();
  size_t allowed(size_t bytes) const;
  // So much is unsent that nothing is read either.
  bool is_overfull() const;
  bool is_held() const { return held_until_.has_value(); }

  const uint64_t id_;
  boost::asio::ip::tcp::socket socket_;
  ConnectionHost& host_;
  std::string address_;
  State state_ = State::kHeader;
  std::string user_;
  VirtualHost* vhost_ = nullptr;
  std::map<uint16_t, std::unique_ptr<Channel>> channels_;

  uint32_t frame_max_;
  uint16_t channel_max_;
  bool takes_cancels_ = false;
  bool takes_blocked_ = false;
  bool takes_login_failure_ = false;

  std::vector<char> input_;
  size_t input_begin_ = 0;
  size_t input_end_ = 0;
  bool reading_ = false;
  uint32_t method_ = 0;  // The one being handled, for errors.

  std::string output_;
  std::string writing_;
  bool is_writing_ = false;
  size_t counted_unsent_ = 0;  // By the broker, of this connection.
  bool was_active_ = false;    // In this second.
  mutable bool was_full_ = false;
  bool ends_when_written_ = false;
  bool is_unreadable_ = false;          // After a broken frame, until close-ok.
  std::optional<uint64_t> held_until_;  // No reading, and only heartbeats, until then.

  bool publishes_ = false;
  bool told_blocked_ = false;
  int64_t receiving_ = 0;

  boost::asio::steady_timer timer_;  // Of the handshake, of heartbeats, then of closing.
  Millis heartbeat_{0};
  bool is_heard_ = false;  // Since the last beat.
  int silent_beats_ = 0;
};

}  // namespace postoffice::embedded
