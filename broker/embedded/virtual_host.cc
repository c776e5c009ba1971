#include "broker/embedded/virtual_host.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "broker/embedded/dead_letters.h"
#include "broker/embedded/generated_name.h"
#include "broker/embedded/stream.h"

namespace postoffice::embedded {
namespace {

// Between where publishers are held back and where they are let in again.
constexpr size_t kBehindBytes = 24 << 20;

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kPredeclared = {{
    {"", "direct"},
    {"amq.direct", "direct"},
    {"amq.fanout", "fanout"},
    {"amq.topic", "topic"},
    {"amq.headers", "headers"},
    {"amq.match", "headers"},
    {"amq.rabbitmq.trace", "topic"},
}};
// Of those arguments, a queue that is declared again must have the same.
constexpr std::array<std::string_view, 15> kCompared = {"x-queue-type",
                                                        "x-message-ttl",
                                                        "x-expires",
                                                        "x-max-length",
                                                        "x-max-length-bytes",
                                                        "x-overflow",
                                                        "x-dead-letter-exchange",
                                                        "x-dead-letter-routing-key",
                                                        "x-dead-letter-strategy",
                                                        "x-max-priority",
                                                        "x-delivery-limit",
                                                        "x-single-active-consumer",
                                                        "x-max-age",
                                                        "x-queue-mode",
                                                        "x-stream-max-segment-size-bytes"};

bool is_reserved(std::string_view name) { return name.starts_with("amq."); }

std::string in_quotes(std::string_view name) { return "'" + std::string(name) + "'"; }

[[noreturn]] void refuse_inequivalent(std::string_view argument, const std::string& what) {
  throw ChannelError(ReplyCode::kPreconditionFailed, "inequivalent arg " + in_quotes(argument) +
                                                         " for " + what +
                                                         ": it exists with another value");
}

void refuse_default_exchange() {
  throw ChannelError(ReplyCode::kAccessRefused, "operation not permitted on the default exchange");
}

bool same_argument(const FieldTable& left, const FieldTable& right, std::string_view name) {
  const auto* const one = left.find(name);
  const auto* const other = right.find(name);
  if (one == nullptr || other == nullptr) {
    // "classic" is what a queue without a type is.
    const auto* const present = one != nullptr ? one : other;
    return present == nullptr ||
           (name == "x-queue-type" && present->text() != nullptr && *present->text() == "classic");
  }
  return *one == *other;
}

// The header table is looked at only when it may hold one of these.
bool may_have_copies(const Properties& properties) {
  using namespace std::string_view_literals;
  return properties.headers && (properties.headers->find("\x02"
                                                         "CC"sv) != std::string_view::npos ||
                                properties.headers->find("\x03"
                                                         "BCC"sv) != std::string_view::npos);
}

// What a message is routed by, each once: there may be tens of thousands.
std::vector<std::string_view> keys_of(std::string_view key, const std::vector<std::string>& copies,
                                      const std::vector<std::string>& blind_copies = {}) {
  std::vector<std::string_view> keys = {key};
  keys.insert(keys.end(), copies.begin(), copies.end());
  keys.insert(keys.end(), blind_copies.begin(), blind_copies.end());
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

}  // namespace

VirtualHost::VirtualHost(std::string name, MessageStore& store, Turn& turn, uint64_t& next_queue_id)
    : name_(std::move(name)), store_(store), turn_(turn), next_queue_id_(next_queue_id) {
  for (const auto& [exchange, type] : kPredeclared) {
    ExchangeRecord record;
    record.vhost = name_;
    record.name = exchange;
    record.type = type;
    record.internal = exchange == "amq.rabbitmq.trace";
    add_exchange(std::move(record), *Exchange::type_named(type), true);
  }
}

VirtualHost::~VirtualHost() {
  for (auto& [name, queue] : queues_) queue->close();
}

void VirtualHost::append(Logged& logged) {
  store_.append(logged);
  topology_at_ = store_.appended();
}

void VirtualHost::append_record(const std::string& record) {
  store_.append_record(record);
  topology_at_ = store_.appended();
}

// --- Exchanges

Exchange* VirtualHost::find_exchange(std::string_view name) {
  const auto found = exchanges_.find(name);
  return found == exchanges_.end() ? nullptr : found->second.get();
}

Exchange& VirtualHost::exchange(std::string_view name) {
  auto* const found = find_exchange(name);
  if (found == nullptr) {
    throw ChannelError(ReplyCode::kNotFound,
                       "no exchange " + in_quotes(name) + " in vhost " + in_quotes(name_));
  }
  return *found;
}

Exchange& VirtualHost::add_exchange(ExchangeRecord record, Exchange::Type type, bool durable) {
  std::string name = record.name;
  auto& place = exchanges_[std::move(name)];
  place = std::make_unique<Exchange>(std::move(record), type, durable);
  return *place;
}

bool VirtualHost::declare(const ExchangeDeclaration& declaration) {
  const auto what = "exchange " + in_quotes(declaration.name) + " in vhost " + in_quotes(name_);
  if (declaration.passive) {
    if (declaration.name.empty()) return false;
    exchange(declaration.name);
    return false;
  }
  if (declaration.name.empty()) refuse_default_exchange();
  const auto type = Exchange::type_named(declaration.type);
  if (!type) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "unknown exchange type " + in_quotes(declaration.type) +
                           ": it must be direct, fanout, topic or headers");
  }
  if (const auto* const existing = find_exchange(declaration.name)) {
    const auto& is = existing->properties();
    if (is.type != declaration.type) refuse_inequivalent("type", what);
    if (existing->is_durable() != declaration.durable) refuse_inequivalent("durable", what);
    if (is.auto_delete != declaration.auto_delete) refuse_inequivalent("auto_delete", what);
    if (is.internal != declaration.internal) refuse_inequivalent("internal", what);
    if (!same_argument(is.arguments, declaration.arguments, "alternate-exchange")) {
      refuse_inequivalent("alternate-exchange", what);
    }
    return waits_for_disk();
  }
  if (is_reserved(declaration.name)) {
    throw ChannelError(ReplyCode::kAccessRefused, "exchange name " + in_quotes(declaration.name) +
                                                      " contains reserved prefix 'amq.*'");
  }
  const auto* const alternate = declaration.arguments.find("alternate-exchange");
  if (alternate != nullptr && alternate->text() == nullptr) {
    throw ChannelError(ReplyCode::kPreconditionFailed, "alternate-exchange must be a string");
  }
  auto& exchange =
      add_exchange({name_, std::string(declaration.name), std::string(declaration.type),
                    declaration.auto_delete, declaration.internal, declaration.arguments},
                   *type, declaration.durable);
  if (declaration.durable) append(exchange);
  return declaration.durable;
}

bool VirtualHost::delete_exchange(std::string_view name, bool if_unused) {
  if (name.empty()) refuse_default_exchange();
  auto* const found = find_exchange(name);
  if (is_reserved(name)) {
    throw ChannelError(ReplyCode::kAccessRefused,
                       "exchange name " + in_quotes(name) + " contains reserved prefix 'amq.*'");
  }
  if (found == nullptr) return waits_for_disk();
  if (if_unused && found->has_bindings()) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "exchange " + in_quotes(name) + " in vhost " + in_quotes(name_) + " in use");
  }
  const bool durable = found->is_durable();
  remove_exchange(*found);
  return durable;
}

void VirtualHost::remove_exchange(Exchange& exchange) {
  const std::string name = exchange.name();
  // Taken out first: an auto-delete exchange that loses its last binding below is another one.
  auto node = exchanges_.extract(name);
  while (exchange.has_bindings()) {
    remove_binding(const_cast<Binding&>(exchange.bindings().front()));
  }
  while (!exchange.incoming.empty()) remove_binding(*exchange.incoming.back());
  if (!exchange.is_durable()) return;
  std::string record;
  WireWriter writer(record);
  writer.octet(static_cast<uint8_t>(RecordType::kExchangeDeleted));
  writer.short_string(name_).short_string(name);
  append_record(record);
}

// --- Queues

std::shared_ptr<Queue> VirtualHost::queue(std::string_view name, uint64_t connection) {
  const auto found = queues_.find(name);
  if (found == queues_.end()) {
    throw ChannelError(ReplyCode::kNotFound,
                       "no queue " + in_quotes(name) + " in vhost " + in_quotes(name_));
  }
  if (found->second->owner != 0 && found->second->owner != connection) {
    throw ChannelError(ReplyCode::kResourceLocked,
                       "cannot obtain exclusive access to locked queue " + in_quotes(name) +
                           " in vhost " + in_quotes(name_));
  }
  return found->second;
}

VirtualHost::Declared VirtualHost::declare(const QueueDeclaration& declaration) {
  if (declaration.passive || queues_.contains(declaration.name)) {
    auto existing = queue(declaration.name, declaration.connection);
    if (declaration.passive) return {std::move(existing), false};
    const auto what = "queue " + in_quotes(declaration.name) + " in vhost " + in_quotes(name_);
    const auto& is = existing->properties();
    if (is.exclusive != declaration.exclusive) {
      throw ChannelError(ReplyCode::kResourceLocked,
                         "cannot obtain exclusive access to locked " + what +
                             ": it was declared with another value of exclusive");
    }
    if (existing->is_durable() != declaration.durable) refuse_inequivalent("durable", what);
    if (is.auto_delete != declaration.auto_delete) refuse_inequivalent("auto_delete", what);
    QueueArguments::read(declaration.arguments, declaration.durable, declaration.exclusive,
                         declaration.auto_delete);
    for (const auto argument : kCompared) {
      if (!same_argument(is.arguments, declaration.arguments, argument)) {
        refuse_inequivalent(argument, what);
      }
    }
    existing->touch();
    return {std::move(existing), waits_for_disk()};
  }
  if (is_reserved(declaration.name)) {
    throw ChannelError(ReplyCode::kAccessRefused, "queue name " + in_quotes(declaration.name) +
                                                      " contains reserved prefix 'amq.*'");
  }
  std::string name(declaration.name);
  if (name.empty()) name = "amq.gen-" + generated_name();
  auto queue = add_queue({next_queue_id_++, name_, name, declaration.exclusive,
                          declaration.auto_delete, declaration.arguments},
                         declaration.durable);
  if (declaration.exclusive) {
    queue->owner = declaration.connection;
    exclusive_[declaration.connection].insert(name);
  }
  if (queue->is_stored()) append(*queue);
  turn_.wake(*queue);
  return {queue, queue->is_stored()};
}

std::shared_ptr<Queue> VirtualHost::add_queue(QueueRecord record, bool durable) {
  const auto type = record.arguments.text("x-queue-type");
  std::string name = record.name;
  std::shared_ptr<Queue> queue;
  if (type == "stream") {
    queue = std::make_shared<Stream>(*this, std::move(record), durable);
  } else {
    queue = std::make_shared<Queue>(*this, std::move(record), durable);
  }
  queues_.emplace(std::move(name), queue);
  return queue;
}

VirtualHost::Deleted VirtualHost::delete_queue(std::string_view name, bool if_unused, bool if_empty,
                                               uint64_t connection) {
  if (!queues_.contains(name)) return {.messages = 0, .logged = waits_for_disk()};
  const auto found = queue(name, connection);
  const auto refuse = [&](const char* why) {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "queue " + in_quotes(name) + " in vhost " + in_quotes(name_) + " " + why);
  };
  if (if_unused && found->consumers() > 0) refuse("in use");
  if (if_empty && found->ready() > 0) refuse("not empty");
  Deleted deleted;
  deleted.messages = found->ready();
  deleted.logged = remove_queue(*found);
  return deleted;
}

bool VirtualHost::remove_queue(Queue& queue) {
  const auto node = queues_.extract(queue.name());
  if (node.empty() || node.mapped().get() != &queue) return false;
  while (!queue.bindings.empty()) remove_binding(*queue.bindings.back());
  queue.close();
  if (queue.owner != 0) {
    const auto owned = exclusive_.find(queue.owner);
    if (owned != exclusive_.end()) owned->second.erase(queue.name());
  }
  if (!queue.is_stored()) return false;
  queue.leave_log();
  std::string record;
  WireWriter writer(record);
  writer.octet(static_cast<uint8_t>(RecordType::kQueueDeleted)).u64(queue.id());
  append_record(record);
  return true;
}

void VirtualHost::delete_exclusive_queues(uint64_t connection) {
  const auto owned = exclusive_.extract(connection);
  if (owned.empty()) return;
  for (const auto& name : owned.mapped()) {
    if (const auto found = queues_.find(name); found != queues_.end()) {
      const auto queue = found->second;
      remove_queue(*queue);
    }
  }
}

// --- Bindings

bool VirtualHost::is_stored(const Binding& binding) {
  return binding.source->is_durable() &&
         (binding.queue != nullptr ? binding.queue->is_stored() : binding.exchange->is_durable());
}

Binding& VirtualHost::add_binding(Exchange& source, Queue* queue, Exchange* exchange,
                                  std::string_view key, FieldTable arguments) {
  auto& binding = source.bind(queue, exchange, key, std::move(arguments));
  add_to(leading_to(binding), &Binding::at_destination, binding);
  return binding;
}

// The list of those with the same destination.
BindingList& VirtualHost::leading_to(const Binding& binding) {
  return binding.queue != nullptr ? binding.queue->bindings : binding.exchange->incoming;
}

bool VirtualHost::bind(const BindingRequest& request) {
  std::shared_ptr<Queue> to_queue;
  Exchange* to_exchange = nullptr;
  if (request.to_exchange) {
    to_exchange = &exchange(request.destination);
  } else {
    to_queue = queue(request.destination, request.connection);
  }
  auto& source = exchange(request.source);
  if (request.source.empty() || (request.to_exchange && request.destination.empty())) {
    refuse_default_exchange();
  }
  if (source.find({to_queue.get(), to_exchange, request.routing_key, request.arguments})) {
    return waits_for_disk();
  }
  auto& binding =
      add_binding(source, to_queue.get(), to_exchange, request.routing_key, request.arguments);
  const bool stored = is_stored(binding);
  if (stored) append(binding);
  return stored;
}

bool VirtualHost::unbind(const BindingRequest& request) {
  if (request.source.empty() || (request.to_exchange && request.destination.empty())) {
    refuse_default_exchange();
  }
  auto* const source = find_exchange(request.source);
  std::shared_ptr<Queue> to_queue;
  Exchange* to_exchange = nullptr;
  if (request.to_exchange) {
    to_exchange = find_exchange(request.destination);
  } else if (queues_.contains(request.destination)) {
    to_queue = queue(request.destination, request.connection);
  }
  if (source == nullptr || (to_queue == nullptr && to_exchange == nullptr)) return waits_for_disk();
  auto* const binding =
      source->find({to_queue.get(), to_exchange, request.routing_key, request.arguments});
  if (binding == nullptr) return waits_for_disk();
  const bool stored = is_stored(*binding);
  remove_binding(*binding);
  return stored;
}

void VirtualHost::remove_binding(Binding& binding) {
  if (is_stored(binding)) {
    append_record(binding.as_record().write(RecordType::kUnbound));
  }
  take_from(leading_to(binding), &Binding::at_destination, binding);
  Exchange& source = *binding.source;
  source.unbind(binding);
  if (source.properties().auto_delete && !source.has_bindings()) {
    unused_exchanges_.push_back(source.name());
    remove_unused_exchanges();
  }
}

// Each that goes may leave others unused: in turn, because a chain of them has any length.
void VirtualHost::remove_unused_exchanges() {
  if (std::exchange(removing_unused_, true)) return;
  while (!unused_exchanges_.empty()) {
    auto* const exchange = find_exchange(unused_exchanges_.back());
    unused_exchanges_.pop_back();
    if (exchange != nullptr && exchange->properties().auto_delete && !exchange->has_bindings()) {
      remove_exchange(*exchange);
    }
  }
  removing_unused_ = false;
}

// --- Messages

VirtualHost::Destinations VirtualHost::route(Exchange& exchange, const RoutingInput& input) {
  Destinations destinations;
  ++routing_;
  if (exchange.name().empty()) {
    for (const auto key : input.keys) route_by_name(key, destinations);
    return destinations;
  }
  to_visit_.assign(1, &exchange);
  for (size_t i = 0; i < to_visit_.size(); ++i) {
    auto& at = *to_visit_[i];
    if (std::exchange(at.routed, routing_) == routing_) continue;
    matching_.clear();
    at.match(input, matching_);
    for (auto* const binding : matching_) {
      if (binding->exchange != nullptr) {
        to_visit_.push_back(binding->exchange);
      } else if (std::exchange(binding->queue->routed, routing_) != routing_) {
        destinations.queues.push_back(binding->queue);
      }
    }
    if (!matching_.empty()) continue;
    if (const auto alternate = at.alternate()) {
      if (auto* const next = find_exchange(*alternate)) to_visit_.push_back(next);
    }
  }
  return destinations;
}

// As the default exchange does.
void VirtualHost::route_by_name(std::string_view key, Destinations& destinations) {
  if (const auto queue = queues_.find(key); queue != queues_.end()) {
    destinations.queues.push_back(queue->second.get());
  } else if (const auto reply = reply_to_.find(key); reply != reply_to_.end()) {
    destinations.reply_to = reply->second;
  }
}

PublishResult VirtualHost::publish(const Publication& publication) {
  auto& target = exchange(publication.exchange);
  if (target.properties().internal) {
    throw ChannelError(ReplyCode::kAccessRefused, "cannot publish to internal exchange " +
                                                      in_quotes(publication.exchange) +
                                                      " in vhost " + in_quotes(name_));
  }
  const auto properties = Properties::read(publication.properties);
  RoutingHeaders headers(properties);
  if (!may_have_copies(properties)) {
    const auto destinations = route(target, {{&publication.routing_key, 1}, headers});
    return put(publication, properties, destinations, unix_now());
  }
  const auto copies = text_array(headers.table(), "CC");
  const auto blind_copies = text_array(headers.table(), "BCC");
  const auto keys = keys_of(publication.routing_key, copies, blind_copies);
  const auto destinations = route(target, {keys, headers});
  auto left = headers.table();
  left.erase("BCC");
  std::string table;
  WireWriter writer(table);
  left.write(writer);
  auto without = properties;
  without.headers = table;
  const std::string bytes = without.write();
  return put({publication.exchange, publication.routing_key, bytes, publication.body}, without,
             destinations, unix_now());
}

PublishResult VirtualHost::put(const Publication& publication, const Properties& properties,
                               const Destinations& destinations, UnixTime now) {
  PublishResult result;
  result.routed = !destinations.queues.empty();
  // Streams and quorum queues keep everything.
  const bool persistent = properties.delivery_mode == 2 ||
                          std::ranges::any_of(destinations.queues, [](const Queue* queue) {
                            return queue->is_stream() || queue->is_quorum();
                          });
  MessagePtr message;
  const auto made = [&]() -> const MessagePtr& {
    if (!message) {
      message = new Message({now, publication.exchange, publication.routing_key,
                             publication.properties, publication.body},
                            persistent, store_.memory());
    }
    return message;
  };
  if (destinations.reply_to) {
    const auto& consumer = destinations.reply_to;
    consumer->receiver->deliver(consumer, {made(), 0, 0, 0, false});
    result.routed = true;
  }
  std::optional<Millis> expiration;
  if (properties.expiration) expiration = expiration_of(*properties.expiration);
  const uint8_t priority = properties.priority.value_or(0);
  for (auto* const queue : destinations.queues) {
    if (queue->accepts(static_cast<uint32_t>(publication.body.size()))) {
      queue->put(made(), expiration, priority, now);
    } else {
      result.refused = true;
    }
  }
  if (result.refused) ++traffic.refused;
  if (!message) return result;
  result.stored = message->is_persistent() && message->has_places();
  if (result.stored) store_.append(*message);
  if (!destinations.queues.empty()) store_.keep(message);
  return result;
}

void VirtualHost::add_reply_to(const std::string& name, std::shared_ptr<Consumer> consumer) {
  reply_to_.emplace(name, std::move(consumer));
}

void VirtualHost::remove_reply_to(const std::string& name) { reply_to_.erase(name); }

// --- QueueHost

void VirtualHost::settled(Queue& queue, const Entry& entry) {
  if (!queue.is_stored() || !(entry.message->is_persistent() || queue.is_stream())) return;
  entry.message->remove_place(queue, entry.seq);
  if (!queue.is_closed()) store_.settled(queue, entry.seq);
}

void VirtualHost::returned(Queue& queue, const Entry& entry, uint32_t count) {
  if (queue.is_stored() && entry.message->is_persistent()) {
    store_.returned(queue, entry.seq, count);
  }
}

bool VirtualHost::is_behind() const {
  return store_.has_failed() || store_.unwritten_bytes() > kBehindBytes;
}

bool VirtualHost::dead_letter(Queue& queue, const Entry& entry, DeathReason reason) {
  if (store_.has_failed()) return false;  // Only memory would take it.
  const auto& arguments = queue.arguments();
  auto* const target = find_exchange(*arguments.dead_letter_exchange);
  const bool keep = arguments.dead_letter_at_least_once;
  if (target == nullptr) return !keep;
  std::string buffer;
  try {
    const auto content = Content::read(store_.content(*entry.message, buffer));
    const auto now = unix_now();
    const auto letter = DeadLetter::of(content, queue, reason, now);
    const auto properties = Properties::read(letter.properties);
    auto texts = letter.routing_keys;
    if (arguments.dead_letter_routing_key) texts = {*arguments.dead_letter_routing_key};
    RoutingHeaders headers(properties);
    const auto keys = keys_of(texts.front(), texts);
    auto destinations = route(*target, {keys, headers});
    if (reason != DeathReason::kRejected) {
      const auto cycle = letter.cycle();
      const auto cycles = std::erase_if(
          destinations.queues, [&](const Queue* to) { return cycle.contains(to->name()); });
      if (cycles > 0 && destinations.queues.empty()) return true;
    }
    if (keep && std::ranges::any_of(destinations.queues, [&](const Queue* to) {
          return !to->accepts(entry.message->body_bytes());
        })) {
      return false;
    }
    const auto result = put({target->name(), texts.front(), letter.properties, content.body},
                            properties, destinations, now);
    if (result.stored) store_.replaced();
    return result.routed || !keep;
  } catch (const Transient& error) {
    if (!queue.has_undeliverable()) {
      spdlog::error("broker: messages of queue {} are dead-lettered later: {}", queue.name(),
                    error.what());
    }
    return false;
  } catch (const std::runtime_error& error) {
    spdlog::error("broker: a message of queue {} cannot be dead-lettered: {}", queue.name(),
                  error.what());
    return true;
  }
}

void VirtualHost::unused(Queue& queue) {
  const auto hold = queue.shared_from_this();
  remove_queue(queue);
}

uint64_t VirtualHost::ready() const {
  uint64_t ready = 0;
  for (const auto& [name, queue] : queues_) ready += queue->ready();
  return ready;
}

// --- Recovery

void VirtualHost::restore(const ExchangeRecord& record, const Recovered::Place& place) {
  const auto type = Exchange::type_named(record.type);
  if (!type) return;
  store_.place(add_exchange(record, *type, true), place);
}

void VirtualHost::restore(Recovered::OfQueue& recovered) {
  const auto queue = add_queue(std::move(*recovered.properties), true);
  store_.place(*queue, recovered.place);
  for (auto& waiting : recovered.messages) {
    Entry entry{std::move(waiting.message), waiting.seq, 0, waiting.priority, false};
    auto ttl = queue->arguments().message_ttl;
    if (waiting.expiration_ms >= 0) {
      ttl = ttl ? std::min(*ttl, Millis(waiting.expiration_ms)) : Millis(waiting.expiration_ms);
    }
    if (queue->is_stream()) {
      entry.expires_at = waiting.published_at;
    } else if (ttl) {
      entry.expires_at = waiting.published_at + ttl->count();
    }
    queue->restore(std::move(entry), waiting.returns);
  }
  queue->restored(recovered.delivered, recovered.last_seq);
}

void VirtualHost::restore(const BindingRecord& record, const Recovered::Place& place) {
  auto* const source = find_exchange(record.source);
  auto* const to_exchange = record.to_exchange ? find_exchange(record.destination) : nullptr;
  const auto to_queue = queues_.find(record.destination);
  Queue* const queue =
      record.to_exchange || to_queue == queues_.end() ? nullptr : to_queue->second.get();
  if (source == nullptr || (to_exchange == nullptr && queue == nullptr)) {
    // The segment with its end was dropped before its own removal was on disk. It must not come
    // back with another of that name.
    append_record(record.write(RecordType::kUnbound));
    return;
  }
  store_.place(add_binding(*source, queue, to_exchange, record.routing_key, record.arguments),
               place);
}

}  // namespace postoffice::embedded
