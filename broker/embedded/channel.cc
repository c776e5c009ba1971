#include "broker/embedded/channel.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/error.h"
#include "broker/embedded/generated_name.h"
#include "broker/embedded/stream.h"

namespace postoffice::embedded {
namespace {

constexpr uint64_t kMostBodyBytes = 128ULL << 20;
constexpr size_t kMostReservedBytes = 1 << 20;  // A larger body grows as it comes.

// What a client may send.
constexpr std::array<uint32_t, 24> kMethods = {
    AMQP_EXCHANGE_DECLARE_METHOD, AMQP_EXCHANGE_DELETE_METHOD,     AMQP_EXCHANGE_BIND_METHOD,
    AMQP_EXCHANGE_UNBIND_METHOD,  AMQP_QUEUE_DECLARE_METHOD,       AMQP_QUEUE_BIND_METHOD,
    AMQP_QUEUE_UNBIND_METHOD,     AMQP_QUEUE_PURGE_METHOD,         AMQP_QUEUE_DELETE_METHOD,
    AMQP_BASIC_QOS_METHOD,        AMQP_BASIC_CONSUME_METHOD,       AMQP_BASIC_CANCEL_METHOD,
    AMQP_BASIC_CANCEL_OK_METHOD,  AMQP_BASIC_PUBLISH_METHOD,       AMQP_BASIC_GET_METHOD,
    AMQP_BASIC_ACK_METHOD,        AMQP_BASIC_NACK_METHOD,          AMQP_BASIC_REJECT_METHOD,
    AMQP_BASIC_RECOVER_METHOD,    AMQP_BASIC_RECOVER_ASYNC_METHOD, AMQP_CONFIRM_SELECT_METHOD,
    AMQP_TX_SELECT_METHOD,        AMQP_TX_COMMIT_METHOD,           AMQP_TX_ROLLBACK_METHOD};

bool bit(uint8_t bits, int index) { return (bits >> index & 1) != 0; }

[[noreturn]] void not_implemented(const std::string& what) {
  throw ConnectionError(ReplyCode::kNotImplemented, what + " is not supported");
}

}  // namespace

Channel::Channel(uint16_t number, ChannelHost& host) : number(number), host_(host) {}

Channel::~Channel() { close(); }

void Channel::method(uint32_t method, WireReader arguments) {
  if (std::ranges::find(kMethods, method) == kMethods.end()) not_implemented("this method");
  switch (method >> 16) {
    case AMQP_EXCHANGE_CLASS:
      exchange_method(method, arguments);
      break;
    case AMQP_QUEUE_CLASS:
      queue_method(method, arguments);
      break;
    case AMQP_BASIC_CLASS:
      basic_method(method, arguments);
      break;
    case AMQP_TX_CLASS:
      tx_method(method);
      break;
    default: {  // Confirm.
      const bool no_wait = bit(arguments.octet(), 0);
      if (transacting_) {
        throw ChannelError(ReplyCode::kPreconditionFailed, "cannot switch from tx to confirm mode");
      }
      confirming_ = true;
      if (!no_wait) reply(AMQP_CONFIRM_SELECT_OK_METHOD);
    }
  }
}

void Channel::reply(uint32_t method) { const MethodWriter writer(host_.output(), number, method); }

std::string_view Channel::named_queue(std::string_view name) const {
  if (!name.empty()) return name;
  if (last_queue_.empty()) {
    throw ChannelError(ReplyCode::kNotFound, "no previously declared queue");
  }
  return last_queue_;
}

// --- Exchanges

void Channel::exchange_method(uint32_t method, WireReader& arguments) {
  arguments.u16();  // Reserved.
  switch (method) {
    case AMQP_EXCHANGE_DECLARE_METHOD:
      declare_exchange(arguments);
      break;
    case AMQP_EXCHANGE_DELETE_METHOD:
      delete_exchange(arguments);
      break;
    case AMQP_EXCHANGE_BIND_METHOD:
    case AMQP_EXCHANGE_UNBIND_METHOD:
      bind_exchange(method, arguments);
      break;
    default:
      break;
  }
}

void Channel::declare_exchange(WireReader& arguments) {
  VirtualHost::ExchangeDeclaration declaration;
  declaration.name = arguments.short_string();
  declaration.type = arguments.short_string();
  const uint8_t bits = arguments.octet();
  declaration.passive = bit(bits, 0);
  declaration.durable = bit(bits, 1);
  declaration.auto_delete = bit(bits, 2);
  declaration.internal = bit(bits, 3);
  declaration.arguments = FieldTable::read(arguments);
  const bool logged = host_.virtual_host().declare(declaration);
  if (bit(bits, 4)) return;
  if (logged) host_.send_when_durable();
  reply(AMQP_EXCHANGE_DECLARE_OK_METHOD);
}

void Channel::delete_exchange(WireReader& arguments) {
  const auto name = arguments.short_string();
  const uint8_t bits = arguments.octet();
  const bool logged = host_.virtual_host().delete_exchange(name, bit(bits, 0));
  if (bit(bits, 1)) return;
  if (logged) host_.send_when_durable();
  reply(AMQP_EXCHANGE_DELETE_OK_METHOD);
}

void Channel::bind_exchange(uint32_t method, WireReader& arguments) {
  VirtualHost::BindingRequest request;
  request.to_exchange = true;
  request.destination = arguments.short_string();
  request.source = arguments.short_string();
  request.routing_key = arguments.short_string();
  const bool no_wait = bit(arguments.octet(), 0);
  request.arguments = FieldTable::read(arguments);
  const bool binds = method == AMQP_EXCHANGE_BIND_METHOD;
  const bool logged =
      binds ? host_.virtual_host().bind(request) : host_.virtual_host().unbind(request);
  if (no_wait) return;
  if (logged) host_.send_when_durable();
  reply(binds ? AMQP_EXCHANGE_BIND_OK_METHOD : AMQP_EXCHANGE_UNBIND_OK_METHOD);
}

// --- Queues

void Channel::queue_method(uint32_t method, WireReader& arguments) {
  arguments.u16();  // Reserved.
  switch (method) {
    case AMQP_QUEUE_DECLARE_METHOD:
      declare_queue(arguments);
      break;
    case AMQP_QUEUE_BIND_METHOD:
    case AMQP_QUEUE_UNBIND_METHOD:
      bind_queue(method, arguments);
      break;
    case AMQP_QUEUE_PURGE_METHOD:
      purge_queue(arguments);
      break;
    case AMQP_QUEUE_DELETE_METHOD:
      delete_queue(arguments);
      break;
    default:
      break;
  }
}

void Channel::declare_queue(WireReader& arguments) {
  VirtualHost::QueueDeclaration declaration;
  declaration.name = arguments.short_string();
  const uint8_t bits = arguments.octet();
  declaration.passive = bit(bits, 0);
  declaration.durable = bit(bits, 1);
  declaration.exclusive = bit(bits, 2);
  declaration.auto_delete = bit(bits, 3);
  declaration.arguments = FieldTable::read(arguments);
  declaration.connection = host_.connection_id();
  if (declaration.passive) declaration.name = named_queue(declaration.name);
  if (declaration.name.starts_with(kReplyTo)) {
    declare_replies(declaration.name);
    return;
  }
  const auto [queue, logged] = host_.virtual_host().declare(declaration);
  last_queue_ = queue->name();
  if (bit(bits, 4)) return;
  if (logged) host_.send_when_durable();
  {
    MethodWriter writer(host_.output(), number, AMQP_QUEUE_DECLARE_OK_METHOD);
    writer->short_string(queue->name());
    writer->u32(static_cast<uint32_t>(queue->ready())).u32(queue->consumers());
  }
}

// Whether somebody waits for replies there: https://www.rabbitmq.com/docs/direct-reply-to
void Channel::declare_replies(std::string_view name) {
  if (name != kReplyTo && !host_.virtual_host().has_reply_to(name)) {
    throw ChannelError(ReplyCode::kNotFound, "no queue '" + std::string(name) + "'");
  }
  MethodWriter writer(host_.output(), number, AMQP_QUEUE_DECLARE_OK_METHOD);
  writer->short_string(name).u32(0).u32(1);
}

void Channel::bind_queue(uint32_t method, WireReader& arguments) {
  const bool unbind = method == AMQP_QUEUE_UNBIND_METHOD;
  VirtualHost::BindingRequest request;
  const auto given = arguments.short_string();
  request.destination = named_queue(given);
  request.source = arguments.short_string();
  request.routing_key = arguments.short_string();
  // With neither a queue nor a key, the queue's name is the key.
  if (given.empty() && request.routing_key.empty()) request.routing_key = request.destination;
  const bool no_wait = !unbind && bit(arguments.octet(), 0);
  request.arguments = FieldTable::read(arguments);
  request.connection = host_.connection_id();
  auto& vhost = host_.virtual_host();
  const bool logged = unbind ? vhost.unbind(request) : vhost.bind(request);
  if (no_wait) return;
  if (logged) host_.send_when_durable();
  reply(unbind ? AMQP_QUEUE_UNBIND_OK_METHOD : AMQP_QUEUE_BIND_OK_METHOD);
}

void Channel::purge_queue(WireReader& arguments) {
  const auto name = named_queue(arguments.short_string());
  const bool no_wait = bit(arguments.octet(), 0);
  const auto queue = host_.virtual_host().queue(name, host_.connection_id());
  if (queue->is_stream()) not_implemented("queue.purge of a stream");
  const auto count = queue->purge();
  if (no_wait) return;
  if (queue->is_stored()) host_.send_when_durable();
  {
    MethodWriter writer(host_.output(), number, AMQP_QUEUE_PURGE_OK_METHOD);
    writer->u32(static_cast<uint32_t>(count));
  }
}

void Channel::delete_queue(WireReader& arguments) {
  const auto name = named_queue(arguments.short_string());
  const uint8_t bits = arguments.octet();
  const auto deleted =
      host_.virtual_host().delete_queue(name, bit(bits, 0), bit(bits, 1), host_.connection_id());
  if (bit(bits, 2)) return;
  if (deleted.logged) host_.send_when_durable();
  {
    MethodWriter writer(host_.output(), number, AMQP_QUEUE_DELETE_OK_METHOD);
    writer->u32(static_cast<uint32_t>(deleted.messages));
  }
}

// --- Basic

void Channel::basic_method(uint32_t method, WireReader& arguments) {
  switch (method) {
    case AMQP_BASIC_PUBLISH_METHOD:
      begin_publish(arguments);
      break;
    case AMQP_BASIC_ACK_METHOD: {
      const uint64_t tag = arguments.u64();
      settle(tag, bit(arguments.octet(), 0), Ack::Kind::kAck);
      break;
    }
    case AMQP_BASIC_NACK_METHOD: {
      const uint64_t tag = arguments.u64();
      const uint8_t bits = arguments.octet();
      settle(tag, bit(bits, 0), bit(bits, 1) ? Ack::Kind::kRequeue : Ack::Kind::kReject);
      break;
    }
    case AMQP_BASIC_REJECT_METHOD: {
      const uint64_t tag = arguments.u64();
      settle(tag, false, bit(arguments.octet(), 0) ? Ack::Kind::kRequeue : Ack::Kind::kReject);
      break;
    }
    case AMQP_BASIC_CONSUME_METHOD:
      consume(arguments);
      break;
    case AMQP_BASIC_CANCEL_METHOD:
      cancel(arguments);
      break;
    case AMQP_BASIC_CANCEL_OK_METHOD:
      break;
    case AMQP_BASIC_GET_METHOD:
      get(arguments);
      break;
    case AMQP_BASIC_QOS_METHOD:
      set_prefetch(arguments);
      break;
    case AMQP_BASIC_RECOVER_METHOD:
    case AMQP_BASIC_RECOVER_ASYNC_METHOD:
      if (!bit(arguments.octet(), 0)) not_implemented("basic.recover without requeue");
      recover();
      if (method == AMQP_BASIC_RECOVER_METHOD) reply(AMQP_BASIC_RECOVER_OK_METHOD);
      break;
    default:
      break;
  }
}

void Channel::set_prefetch(WireReader& arguments) {
  const uint32_t size = arguments.u32();
  const uint16_t count = arguments.u16();
  if (size != 0) not_implemented("a prefetch-size other than 0");
  if (bit(arguments.octet(), 0)) {
    channel_prefetch_ = count;
    drained();
  } else {
    prefetch_ = count;
  }
  reply(AMQP_BASIC_QOS_OK_METHOD);
}

void Channel::consume(WireReader& arguments) {
  arguments.u16();  // Reserved.
  const auto name = named_queue(arguments.short_string());
  std::string tag(arguments.short_string());
  const uint8_t bits = arguments.octet();
  const auto table = FieldTable::read(arguments);
  const bool no_wait = bit(bits, 3);
  if (tag.empty()) tag = "amq.ctag-" + generated_name();
  if (consumers_.contains(tag)) {
    throw ConnectionError(ReplyCode::kNotAllowed, "attempt to reuse consumer tag '" + tag + "'");
  }
  if (name == kReplyTo) {
    consume_replies(tag, bit(bits, 1));
  } else {
    auto consumer = std::make_shared<Consumer>();
    consumer->receiver = this;
    consumer->queue = host_.virtual_host().queue(name, host_.connection_id());
    consumer->tag = tag;
    consumer->no_ack = bit(bits, 1);
    consumer->exclusive = bit(bits, 2);
    consumer->prefetch = prefetch_;
    if (const auto* const priority = table.find("x-priority")) {
      const auto value = priority->integer();
      if (!value || *value < INT32_MIN || *value > INT32_MAX) {
        throw ChannelError(ReplyCode::kPreconditionFailed, "x-priority must be a 32-bit integer");
      }
      consumer->priority = static_cast<int32_t>(*value);
    }
    if (consumer->queue->is_quorum() && channel_prefetch_ != 0) {
      not_implemented("a prefetch of the whole channel with a quorum queue");
    }
    if (consumer->queue->is_stream()) {
      if (consumer->no_ack) not_implemented("consuming a stream without acknowledgements");
      if (prefetch_ == 0 && channel_prefetch_ == 0) {
        throw ChannelError(
            ReplyCode::kPreconditionFailed,
            "consumer prefetch count is not set for stream queue '" + std::string(name) + "'");
      }
      consumer->next_offset = static_cast<Stream&>(*consumer->queue).start_of(table);
    }
    consumer->queue->add(consumer);
    consumers_.emplace(tag, std::move(consumer));
  }
  if (no_wait) return;
  MethodWriter writer(host_.output(), number, AMQP_BASIC_CONSUME_OK_METHOD);
  writer->short_string(tag);
}

// https://www.rabbitmq.com/docs/direct-reply-to
void Channel::consume_replies(std::string tag, bool no_ack) {
  if (!no_ack) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "reply consumer cannot acknowledge: consume with no-ack");
  }
  if (reply_consumer_) {
    throw ChannelError(ReplyCode::kPreconditionFailed, "reply consumer already set");
  }
  reply_name_ = std::string(kReplyTo) + "." + generated_name();
  reply_consumer_ = std::make_shared<Consumer>();
  reply_consumer_->receiver = this;
  reply_consumer_->tag = tag;
  reply_consumer_->no_ack = true;
  consumers_.emplace(std::move(tag), reply_consumer_);
  host_.virtual_host().add_reply_to(reply_name_, reply_consumer_);
}

void Channel::cancel(WireReader& arguments) {
  const std::string tag(arguments.short_string());
  const bool no_wait = bit(arguments.octet(), 0);
  if (const auto found = consumers_.find(tag); found != consumers_.end()) {
    const auto consumer = found->second;
    consumers_.erase(found);
    drop_consumer(consumer);
  }
  if (no_wait) return;
  MethodWriter writer(host_.output(), number, AMQP_BASIC_CANCEL_OK_METHOD);
  writer->short_string(tag);
}

void Channel::drop_consumer(const std::shared_ptr<Consumer>& consumer) {
  if (consumer == reply_consumer_) {
    host_.virtual_host().remove_reply_to(reply_name_);
    reply_consumer_.reset();
  } else {
    consumer->queue->remove(consumer);
  }
}

void Channel::cancelled(Consumer& consumer) {
  if (host_.client_takes_cancels()) {
    MethodWriter writer(host_.output(), number, AMQP_BASIC_CANCEL_METHOD);
    writer->short_string(consumer.tag).octet(1);
  }
  consumers_.erase(consumer.tag);
}

void Channel::get(WireReader& arguments) {
  arguments.u16();  // Reserved.
  const auto queue =
      host_.virtual_host().queue(named_queue(arguments.short_string()), host_.connection_id());
  const bool no_ack = bit(arguments.octet(), 0);
  if (queue->is_stream()) not_implemented("basic.get from a stream");
  while (auto entry = queue->take()) {
    const auto written = write_content_of(*entry, queue.get(), [&](const Content& content) {
      MethodWriter writer(host_.output(), number, AMQP_BASIC_GET_OK_METHOD);
      writer->u64(unsettled_.next_tag()).octet(entry->redelivered ? 1 : 0);
      writer->short_string(content.exchange).short_string(content.routing_key);
      writer->u32(static_cast<uint32_t>(queue->ready()));
    });
    if (written == Written::kLater) {
      queue->pause(std::move(*entry), unreadable_);
      break;
    }
    if (written == Written::kLost || no_ack) queue->settle(*entry);
    if (written == Written::kLost) continue;
    if (no_ack) {
      unsettled_.skip();
    } else {
      note_delivered(*queue, *entry);
      unsettled_.add({0, std::move(*entry), queue, nullptr});
    }
    return;
  }
  MethodWriter writer(host_.output(), number, AMQP_BASIC_GET_EMPTY_METHOD);
  writer->short_string("");
}

// --- Deliveries

bool Channel::can_take(const Consumer& consumer) const {
  if (host_.is_full()) return false;
  if (consumer.no_ack) return true;
  if (consumer.prefetch != 0 && consumer.unsettled >= consumer.prefetch) return false;
  return channel_prefetch_ == 0 || unsettled_.size() < channel_prefetch_;
}

void Channel::deliver(const std::shared_ptr<Consumer>& consumer, Entry entry) {
  const auto* const queue = consumer->queue.get();
  // Replies wait in no queue: a client that does not read loses them.
  if (queue == nullptr && host_.drops_replies()) return;
  const auto written = write_content_of(entry, queue, [&](const Content& content) {
    MethodWriter writer(host_.output(), number, AMQP_BASIC_DELIVER_METHOD);
    writer->short_string(consumer->tag).u64(unsettled_.next_tag());
    writer->octet(entry.redelivered ? 1 : 0);
    writer->short_string(content.exchange).short_string(content.routing_key);
  });
  if (written == Written::kLater) {
    consumer->queue->pause(std::move(entry), unreadable_);
    return;
  }
  if (written == Written::kLost || consumer->no_ack) {
    if (written == Written::kYes) unsettled_.skip();
    if (queue != nullptr) consumer->queue->settle(entry);
    return;
  }
  note_delivered(*queue, entry);
  ++consumer->unsettled;
  unsettled_.add({0, std::move(entry), consumer->queue, consumer});
}

// The log remembers up to where a queue has been delivered.
void Channel::note_delivered(const Queue& queue, const Entry& entry) {
  if (queue.is_stored() && entry.seq >= queue.delivered()) host_.store().delivered(queue);
}

Channel::Written Channel::write_content_of(const Entry& entry, const Queue* queue,
                                           auto&& write_method) {
  const uint32_t returns =
      queue != nullptr && queue->is_quorum() ? queue->return_count(entry.seq) : 0;
  const bool has_more_headers = queue != nullptr && (queue->is_stream() || returns > 0);
  std::string buffer;
  Content content;
  Properties properties;
  FieldTable headers;
  try {
    content = Content::read(host_.store().content(*entry.message, buffer));
    if (has_more_headers) {
      properties = Properties::read(content.properties);
      headers = properties.header_table();
    }
  } catch (const Transient& error) {
    unreadable_ = error.what();
    return Written::kLater;
  } catch (const std::runtime_error& error) {
    spdlog::error("broker: a message of queue {} is lost: {}",
                  queue != nullptr ? queue->name() : kReplyTo, error.what());
    return Written::kLost;
  }
  ++host_.virtual_host().traffic.delivered;
  write_method(content);
  if (has_more_headers) {
    if (queue->is_stream()) {
      headers.set("x-stream-offset", FieldValue::of(static_cast<int64_t>(entry.seq)));
    } else {
      headers.set("x-delivery-count", FieldValue::of(int64_t{returns}));
    }
    std::string table;
    WireWriter writer(table);
    headers.write(writer);
    properties.headers = table;
    write_content(host_.output(), number, host_.frame_max(), properties.write(), content.body);
  } else {
    write_content(host_.output(), number, host_.frame_max(), content.properties, content.body);
  }
  host_.content_written();
  return Written::kYes;
}

void Channel::drained() {
  for (const auto& [tag, consumer] : consumers_) {
    if (consumer->queue) host_.virtual_host().wake(*consumer->queue);
  }
}

// --- Acknowledgements

void Channel::settle(uint64_t tag, bool multiple, Ack::Kind kind) {
  Ack ack{unsettled_.take(tag, multiple), kind};
  if (kind != Ack::Kind::kAck && std::ranges::any_of(ack.delivered, [](const Delivered& each) {
        return each.queue->is_stream();
      })) {
    unsettled_.restore(std::move(ack.delivered));
    not_implemented("nack or reject of a stream's message");
  }
  if (ack.delivered.empty()) return;
  if (transacting_) {
    uncommitted_acks_.push_back(std::move(ack));
  } else {
    apply(std::move(ack));
  }
}

void Channel::apply(Ack ack) {
  auto& traffic = host_.virtual_host().traffic;
  (ack.kind == Ack::Kind::kAck       ? traffic.acknowledged
   : ack.kind == Ack::Kind::kRequeue ? traffic.requeued
                                     : traffic.rejected) += ack.delivered.size();
  for (auto& delivered : ack.delivered) {
    auto& queue = *delivered.queue;
    if (delivered.consumer) --delivered.consumer->unsettled;
    switch (ack.kind) {
      case Ack::Kind::kAck:
        queue.settle(delivered.entry);
        break;
      case Ack::Kind::kRequeue:
        queue.requeue(std::move(delivered.entry));
        break;
      case Ack::Kind::kReject:
        queue.reject(delivered.entry, DeathReason::kRejected);
        break;
    }
    // There is room in the prefetch; a channel's is shared by all its consumers.
    if (!queue.is_closed()) host_.virtual_host().wake(queue);
  }
  if (channel_prefetch_ != 0) drained();
}

void Channel::recover() { apply({unsettled_.take_all(), Ack::Kind::kRequeue}); }

// --- Publishing

void Channel::begin_publish(WireReader& arguments) {
  arguments.u16();  // Reserved.
  auto& publish = publish_.emplace();
  publish.exchange = arguments.short_string();
  publish.routing_key = arguments.short_string();
  const uint8_t bits = arguments.octet();
  publish.mandatory = bit(bits, 0);
  if (bit(bits, 1)) not_implemented("immediate=true");
  host_.publishes();  // From here on it is held back with the others, before its content is read.
}

void Channel::header(std::string_view payload) {
  if (!publish_ || publish_->body_bytes) {
    throw ConnectionError(ReplyCode::kUnexpectedFrame, "a content header without basic.publish");
  }
  WireReader reader(payload);
  const uint16_t content_class = reader.u16();
  if (content_class != AMQP_BASIC_CLASS) {
    throw ConnectionError(ReplyCode::kUnexpectedFrame, "a content header of class " +
                                                           std::to_string(content_class) +
                                                           " after a method of class basic");
  }
  reader.u16();  // Weight, unused.
  const uint64_t bytes = reader.u64();
  if (bytes > kMostBodyBytes) {
    publish_.reset();
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "message size " + std::to_string(bytes) + " is larger than the limit of " +
                           std::to_string(kMostBodyBytes) + " bytes");
  }
  publish_->body_bytes = bytes;
  publish_->properties = reader.rest();
  host_.receiving(static_cast<int64_t>(publish_->properties.size()));
  publish_->body.reserve(std::min<size_t>(bytes, kMostReservedBytes));
  if (bytes == 0) end_publish();
}

void Channel::body(std::string_view payload) {
  if (!publish_ || !publish_->body_bytes) {
    throw ConnectionError(ReplyCode::kUnexpectedFrame, "a content body without content header");
  }
  if (publish_->body.size() + payload.size() > *publish_->body_bytes) {
    throw ConnectionError(ReplyCode::kFrameError, "a content body longer than its header said");
  }
  publish_->body.append(payload);
  host_.receiving(static_cast<int64_t>(payload.size()));
  if (publish_->body.size() == *publish_->body_bytes) end_publish();
}

void Channel::forget_receiving() {
  if (publish_) host_.receiving(-publish_->received());
  publish_.reset();
}

void Channel::forget_uncommitted() {
  host_.receiving(-std::exchange(uncommitted_bytes_, 0));
  uncommitted_.clear();
}

void Channel::end_publish() {
  const bool takes_messages = host_.publishes();
  Publish publish = std::move(*publish_);
  host_.receiving(-publish.received());
  publish_.reset();
  check(publish, Properties::read(publish.properties));
  if (!takes_messages) {
    if (!confirming_) {
      throw ConnectionError(ReplyCode::kInternalError, "the message store has failed");
    }
    ++host_.virtual_host().traffic.refused;
    confirms_.refused();
    host_.confirm_later();
    return;
  }
  if (!transacting_) {
    put(publish);
    return;
  }
  const auto overhead = sizeof(publish) + publish.exchange.size() + publish.routing_key.size();
  const int64_t bytes = static_cast<int64_t>(overhead) + publish.received();
  uncommitted_bytes_ += bytes;
  uncommitted_.push_back(std::move(publish));
  host_.receiving(bytes);
}

void Channel::check(const Publish& publish, const Properties& properties) const {
  // 404 and 403 also of what is committed later.
  if (host_.virtual_host().exchange(publish.exchange).properties().internal) {
    throw ChannelError(ReplyCode::kAccessRefused,
                       "cannot publish to internal exchange '" + publish.exchange + "'");
  }
  if (properties.user_id && *properties.user_id != host_.user()) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "user_id property set to '" + std::string(*properties.user_id) +
                           "' but authenticated user was '" + host_.user() + "'");
  }
  if (properties.expiration) expiration_of(*properties.expiration);
  if (properties.reply_to == kReplyTo && !reply_consumer_) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "fast reply consumer does not exist: consume from " + std::string(kReplyTo));
  }
}

void Channel::put(const Publish& publish) {
  PublishResult result;
  std::string_view properties = publish.properties;
  std::string with_reply_name;
  if (reply_consumer_) {
    auto changed = Properties::read(publish.properties);
    if (changed.reply_to == kReplyTo) {
      changed.reply_to = reply_name_;
      with_reply_name = changed.write();
      properties = with_reply_name;
    }
  }
  result = host_.virtual_host().publish(
      {publish.exchange, publish.routing_key, properties, publish.body});
  auto& traffic = host_.virtual_host().traffic;
  ++traffic.published;
  if (!result.routed) ++traffic.unroutable;
  if (!result.routed && publish.mandatory) return_unroutable(publish);
  if (!confirming_) return;
  if (result.refused) {
    confirms_.refused();
  } else {
    confirms_.published(result.stored ? host_.store().appended() : 0);
  }
  host_.confirm_later();
}

void Channel::return_unroutable(const Publish& publish) {
  {
    MethodWriter writer(host_.output(), number, AMQP_BASIC_RETURN_METHOD);
    writer->u16(AMQP_NO_ROUTE).short_string("NO_ROUTE");
    writer->short_string(publish.exchange).short_string(publish.routing_key);
  }
  write_content(host_.output(), number, host_.frame_max(), publish.properties, publish.body);
  host_.content_written();
}

void Channel::write_confirms(uint64_t durable, std::string& out) {
  confirms_.write(durable, number, out);
}

void Channel::refuse_unconfirmed() { confirms_.refuse_all(); }

// --- Transactions

void Channel::tx_method(uint32_t method) {
  if (method == AMQP_TX_SELECT_METHOD) {
    if (confirming_) {
      throw ChannelError(ReplyCode::kPreconditionFailed, "cannot switch from confirm to tx mode");
    }
    transacting_ = true;
    reply(AMQP_TX_SELECT_OK_METHOD);
    return;
  }
  if (!transacting_) {
    throw ChannelError(ReplyCode::kPreconditionFailed, "channel is not transactional");
  }
  if (method == AMQP_TX_COMMIT_METHOD) {
    commit();
  } else {
    rollback();
  }
}

void Channel::commit() {
  const auto publishes = std::exchange(uncommitted_, {});
  forget_uncommitted();
  for (const auto& publish : publishes) put(publish);
  if (!publishes.empty()) host_.store().replaced();  // What is acknowledged with them.
  // Only now: when a publish fails, the channel closes and puts back what it holds.
  for (auto& ack : std::exchange(uncommitted_acks_, {})) apply(std::move(ack));
  host_.send_when_durable();
  reply(AMQP_TX_COMMIT_OK_METHOD);
}

void Channel::rollback() {
  forget_uncommitted();
  // What was acknowledged is as it was before: delivered and not acknowledged.
  std::vector<Delivered> delivered;
  for (auto& ack : std::exchange(uncommitted_acks_, {})) {
    std::ranges::move(ack.delivered, std::back_inserter(delivered));
  }
  unsettled_.restore(std::move(delivered));
  reply(AMQP_TX_ROLLBACK_OK_METHOD);
}

// --- End

void Channel::close() {
  if (closed_) return;
  closed_ = true;
  forget_receiving();
  forget_uncommitted();
  for (auto& ack : std::exchange(uncommitted_acks_, {})) {
    apply({std::move(ack.delivered), Ack::Kind::kRequeue});
  }
  for (const auto& [tag, consumer] : std::exchange(consumers_, {})) drop_consumer(consumer);
  apply({unsettled_.take_all(), Ack::Kind::kRequeue});
}

}  // namespace postoffice::embedded
