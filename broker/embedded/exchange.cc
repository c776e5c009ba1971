#include "broker/embedded/exchange.h"

#include <boost/container_hash/hash.hpp>

#include "broker/embedded/queue.h"

namespace postoffice::embedded {
namespace {

constexpr size_t kFewHeaders = 16;

// Arguments that begin with x- do not take part. A void value asks for presence only.
bool headers_match(const FieldTable& wanted, RoutingHeaders& headers) {
  const bool any = wanted.text("x-match").value_or("all") == "any";
  bool empty = true;
  for (const auto& [name, value] : wanted) {
    if (name.starts_with("x-")) continue;
    empty = false;
    const auto* const header = headers.find(name);
    const bool matches = header != nullptr && (value.type == 'V' || *header == value);
    if (matches == any) return any;
  }
  return empty || !any;
}

void check_headers_arguments(const FieldTable& arguments) {
  const auto* const match = arguments.find("x-match");
  if (match == nullptr) return;
  const auto* const text = match->text();
  if (text != nullptr && (*text == "all" || *text == "any")) return;
  throw ChannelError(ReplyCode::kPreconditionFailed,
                     "Invalid x-match field value: it must be all or any");
}

}  // namespace

void add_to(BindingList& list, size_t Binding::*index, Binding& binding) {
  binding.*index = list.size();
  list.push_back(&binding);
}

void take_from(BindingList& list, size_t Binding::*index, Binding& binding) {
  Binding* const last = list.back();
  last->*index = binding.*index;
  list[binding.*index] = last;
  list.pop_back();
}

size_t BindingHash::operator()(const BindingKey& key) const {
  size_t seed = hash_of(key.arguments);
  boost::hash_combine(seed, key.queue);
  boost::hash_combine(seed, key.exchange);
  boost::hash_combine(seed, StringHash()(key.routing_key));
  return seed;
}

size_t BindingHash::operator()(const Binding* binding) const { return (*this)(binding->key()); }

bool SameBinding::operator()(const BindingKey& key, const Binding* binding) const {
  return key.queue == binding->queue && key.exchange == binding->exchange &&
         key.routing_key == binding->routing_key && key.arguments == binding->arguments;
}

const FieldTable& RoutingHeaders::table() {
  if (!table_) table_ = properties_.header_table();
  return *table_;
}

const FieldValue* RoutingHeaders::find(std::string_view name) {
  const auto& headers = table();
  if (headers.size() <= kFewHeaders) return headers.find(name);
  if (by_name_.empty()) {
    for (const auto& [each, value] : headers) by_name_.emplace(each, &value);
  }
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

BindingRecord Binding::as_record() const {
  return {source->vhost(),     source->name(),
          exchange != nullptr, exchange != nullptr ? exchange->name() : queue->name(),
          routing_key,         arguments};
}

std::optional<Exchange::Type> Exchange::type_named(std::string_view name) {
  if (name == "direct") return Type::kDirect;
  if (name == "fanout") return Type::kFanout;
  if (name == "topic") return Type::kTopic;
  if (name == "headers") return Type::kHeaders;
  return std::nullopt;
}

Exchange::Exchange(ExchangeRecord properties, Type type, bool durable)
    : properties_(std::move(properties)), type_(type), durable_(durable) {}

Exchange::~Exchange() = default;

Binding* Exchange::find(const BindingKey& key) const {
  const auto found = by_all_.find(key);
  return found == by_all_.end() ? nullptr : *found;
}

Binding& Exchange::bind(Queue* queue, Exchange* exchange, std::string_view routing_key,
                        FieldTable arguments) {
  if (type_ == Type::kHeaders) check_headers_arguments(arguments);
  auto& binding = bindings_.emplace_back();
  binding.place = std::prev(bindings_.end());
  binding.source = this;
  binding.queue = queue;
  binding.exchange = exchange;
  binding.routing_key = routing_key;
  binding.arguments = std::move(arguments);
  by_all_.insert(&binding);
  if (type_ == Type::kDirect) add_to(by_key_[binding.routing_key], &Binding::at_source, binding);
  if (type_ == Type::kTopic) by_pattern_.add(binding.routing_key, binding);
  return binding;
}

void Exchange::unbind(Binding& binding) {
  if (type_ == Type::kDirect) {
    const auto found = by_key_.find(binding.routing_key);
    take_from(found->second, &Binding::at_source, binding);
    if (found->second.empty()) by_key_.erase(found);
  }
  if (type_ == Type::kTopic) by_pattern_.remove(binding.routing_key, binding);
  by_all_.erase(&binding);
  bindings_.erase(binding.place);
}

void Exchange::match(const RoutingInput& input, std::vector<Binding*>& matching) {
  switch (type_) {
    case Type::kDirect:
      for (const auto key : input.keys) {
        if (const auto found = by_key_.find(key); found != by_key_.end()) {
          matching.insert(matching.end(), found->second.begin(), found->second.end());
        }
      }
      break;
    case Type::kFanout:
      for (auto& binding : bindings_) matching.push_back(&binding);
      break;
    case Type::kTopic:
      by_pattern_.match(input.keys, matching);
      break;
    case Type::kHeaders:
      for (auto& binding : bindings_) {
        if (headers_match(binding.arguments, input.headers)) matching.push_back(&binding);
      }
      break;
  }
}

}  // namespace postoffice::embedded
