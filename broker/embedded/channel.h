#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/embedded/confirms.h"
#include "broker/embedded/consumer.h"
#include "broker/embedded/frame.h"
#include "broker/embedded/unsettled_deliveries.h"
#include "broker/embedded/virtual_host.h"

namespace postoffice::embedded {

// What a channel needs of its connection.
class ChannelHost {
 public:
  virtual ~ChannelHost() = default;
  virtual uint64_t connection_id() const = 0;
  virtual const std::string& user() const = 0;
  virtual uint32_t frame_max() const = 0;
  virtual bool client_takes_cancels() const = 0;
  virtual VirtualHost& virtual_host() = 0;
  virtual MessageStore& store() = 0;
  // Frames that are sent at the end of this turn.
  virtual std::string& output() = 0;
  // Content was appended to output().
  virtual void content_written() = 0;
  // More than enough is unsent: deliveries wait.
  virtual bool is_full() const = 0;
  // The client has left so much unread that direct replies to it are dropped.
  virtual bool drops_replies() const = 0;
  // What was appended to output() since is sent once all that was logged is on disk.
  virtual void send_when_durable() = 0;
  // A channel has confirms to write, now or when more is durable.
  virtual void confirm_later() = 0;
  // The client publishes, and is told when the broker cannot take messages. False: never again.
  virtual bool publishes() = 0;
  // Bytes of content that are being received or wait for tx.commit, on all connections. Throws
  // ConnectionError (506) when they are too many.
  virtual void receiving(int64_t more_bytes) = 0;
};

// A message as it comes in.
struct Publish {
  std::string exchange;
  std::string routing_key;
  bool mandatory = false;
  std::optional<uint64_t> body_bytes;  // Known once the header was there.
  std::string properties;
  std::string body;

  int64_t received() const { return static_cast<int64_t>(properties.size() + body.size()); }
};

// What a client says of deliveries.
struct Ack {
  enum class Kind { kAck, kRequeue, kReject };

  std::vector<Delivered> delivered;
  Kind kind = Kind::kAck;
};

// A channel: AMQP 0-9-1 section 2.1.2 and the classes exchange, queue, basic, confirm and tx.
// Errors are thrown; the connection closes the channel or itself. Used on the broker's thread only.
class Channel final : public Receiver {
 public:
  Channel(uint16_t number, ChannelHost& host);
  ~Channel() override;

  // Arguments of a method of these classes.
  void method(uint32_t method, WireReader arguments);
  void header(std::string_view payload);
  void body(std::string_view payload);
  bool expects_content() const { return publish_.has_value(); }

  // Settles everything: what was not acknowledged goes back.
  void close();
  // Appends them to `out`: most often there is none yet.
  void write_confirms(uint64_t durable, std::string& out);
  void refuse_unconfirmed();
  bool waits_for_confirms() const { return confirms_.waits(); }
  // There is room for deliveries again.
  void drained();

  bool can_take(const Consumer& consumer) const override;
  void deliver(const std::shared_ptr<Consumer>& consumer, Entry entry) override;
  void cancelled(Consumer& consumer) override;

  const uint16_t number;
  // channel.close was sent: everything but close-ok is ignored.
  bool is_closing = false;

 private:
  void exchange_method(uint32_t method, WireReader& arguments);
  void queue_method(uint32_t method, WireReader& arguments);
  void basic_method(uint32_t method, WireReader& arguments);
  void tx_method(uint32_t method);

  void declare_exchange(WireReader& arguments);
  void delete_exchange(WireReader& arguments);
  void bind_exchange(uint32_t method, WireReader& arguments);
  void declare_queue(WireReader& arguments);
  void declare_replies(std::string_view name);
  // And unbinds, as bind_exchange().
  void bind_queue(uint32_t method, WireReader& arguments);
  void purge_queue(WireReader& arguments);
  void delete_queue(WireReader& arguments);
  void set_prefetch(WireReader& arguments);
  void consume(WireReader& arguments);
  void consume_replies(std::string tag, bool no_ack);
  void cancel(WireReader& arguments);
  void get(WireReader& arguments);
  void settle(uint64_t tag, bool multiple, Ack::Kind kind);
  void recover();

  void begin_publish(WireReader& arguments);
  void end_publish();
  void put(const Publish& publish);
  void check(const Publish& publish, const Properties& properties) const;
  void return_unroutable(const Publish& publish);
  void forget_receiving();
  void forget_uncommitted();

  void apply(Ack ack);
  void commit();
  void rollback();

  std::string_view named_queue(std::string_view name) const;
  // Sends a method without arguments.
  void reply(uint32_t method);
  void note_delivered(const Queue& queue, const Entry& entry);
  enum class Written { kYes, kLost, kLater };
  // kLost: its content is damaged. kLater: it cannot be read now, `unreadable_` says why.
  Written write_content_of(const Entry& entry, const Queue* queue, auto&& write_method);
  void drop_consumer(const std::shared_ptr<Consumer>& consumer);

  ChannelHost& host_;
  std::string unreadable_;
  std::optional<Publish> publish_;
  std::map<std::string, std::shared_ptr<Consumer>, std::less<>> consumers_;
  UnsettledDeliveries unsettled_;
  uint32_t prefetch_ = 0;          // Of consumers that start.
  uint32_t channel_prefetch_ = 0;  // Of the channel as a whole.
  std::string last_queue_;         // The one that an empty name means.
  bool confirming_ = false;
  Confirms confirms_;
  bool transacting_ = false;
  std::vector<Publish> uncommitted_;
  int64_t uncommitted_bytes_ = 0;
  std::vector<Ack> uncommitted_acks_;
  std::shared_ptr<Consumer> reply_consumer_;
  std::string reply_name_;
  bool closed_ = false;
};

}  // namespace postoffice::embedded
