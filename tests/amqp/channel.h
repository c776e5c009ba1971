#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/amqp/methods.h"
#include "tests/amqp/properties.h"
#include "tests/amqp/raw_client.h"

namespace postoffice::amqp_test {

// A message that came by basic.deliver, basic.get-ok or basic.return.
struct Message {
  std::string consumer_tag = {};
  uint64_t tag = 0;
  bool redelivered = false;
  std::string exchange = {};
  std::string key = {};
  uint32_t message_count = 0;  // Of a get-ok.
  uint16_t reply_code = 0;     // Of a return.
  Properties properties = {};
  std::string body = {};

  const Table& headers() const;  // Throws when there are none.
};

struct QueueInfo {
  std::string name;
  uint32_t messages = 0;  // Ready.
  uint32_t consumers = 0;
};

// A channel of a Client, which outlives it. Methods that have an answer wait for it.
class Channel {
 public:
  Channel(Client& client, uint16_t number) : client_(&client), number_(number) {}

  void open();
  void close();
  void send(const Method& method) { client_->send(number_, method); }
  // The method that the protocol answers with (x.y-ok).
  Event call(const Method& method);
  Event next() { return client_->next(number_); }
  Event take(amqp_method_number_t id) { return client_->take(number_, id); }

  QueueInfo declare(const std::string& queue, const QueueOptions& options = {});
  void declare_exchange(const std::string& exchange, const std::string& type,
                        const ExchangeOptions& options = {});
  void bind(const std::string& queue, const std::string& exchange, const std::string& key,
            const Table& arguments = {});

  // No waiting.
  void publish(const std::string& exchange, const std::string& key, std::string_view body,
               const Properties& properties = {}, const PublishOptions& options = {});
  // By the default exchange.
  void publish(const std::string& queue, std::string_view body, const Properties& properties = {});

  void confirm_select();
  // Waits until the server has settled all that was published since confirm_select; the tags that
  // were nacked. Throws when a tag is settled twice or was never published.
  std::vector<uint64_t> confirms();

  // The consumer tag.
  std::string consume(const std::string& queue, const ConsumeOptions& options = {});
  Message delivery();
  // The bodies of that many deliveries.
  std::vector<std::string> deliveries(size_t count);
  Message returned();
  // The same, when nothing else came before it.
  Message returned_first();
  std::optional<Message> get(const std::string& queue, bool no_ack = true);
  // All that is ready, taken without ack.
  std::vector<std::string> get_all(const std::string& queue);
  void ack(uint64_t tag, bool multiple = false) { send(basic_ack(tag, multiple)); }
  void nack(uint64_t tag, const Settle& options = {}) { send(basic_nack(tag, options)); }
  void qos(uint16_t prefetch, bool global = false) { call(basic_qos(prefetch, global)); }

  uint32_t ready(const std::string& queue) { return declare(queue, {.passive = true}).messages; }
  // Waits until so many messages are ready, or consumers there.
  void await_ready(const std::string& queue, uint32_t count);
  // Sends these until all are answered, and none with channel.close.
  void await_accepted(const std::vector<Method>& methods);
  // Until the queue is gone; asks on this channel.
  void await_gone(const std::string& queue);
  // The same without asking the queue: publishes mandatory messages until one is returned.
  void await_unroutable(const std::string& queue);
  void await_consumers(const std::string& queue, uint32_t count);

  // When these return, the server has handled all that was sent before; and what the queue had for
  // the channel has been read. The queue exists.
  void sync();
  void sync(const std::string& queue);
  // Nothing that came is still to be taken; after a sync.
  void expect_nothing();

  // Its answer or channel.close, whose code is returned (0: none), and the channel opened again.
  uint16_t try_call(const Method& method);
  // channel.close with that reply code, and the class and method of the one to blame; answered.
  void expect_close(uint16_t code, amqp_method_number_t because_of);
  // Sends it, expects the channel to be closed because of it, and opens it again.
  void refuses(const Method& method, uint16_t code);
  // The same with an error that closes the connection.
  void closes_connection(const Method& method, uint16_t code);

 private:
  void settle(const Event& event);

  Client* client_;
  uint16_t number_;
  bool confirms_ = false;
  uint64_t published_ = 0;  // Since confirm_select.
  std::set<uint64_t> unsettled_;
  std::vector<uint64_t> nacked_;
};

}  // namespace postoffice::amqp_test
