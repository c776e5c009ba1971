#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "broker/embedded/field_table.h"
#include "broker/embedded/logged.h"
#include "broker/embedded/properties.h"
#include "broker/embedded/records.h"
#include "broker/embedded/topic_trie.h"

namespace postoffice::embedded {

class Exchange;
class Queue;

// What tells a binding from the others of its exchange; views.
struct BindingKey {
  const Queue* queue = nullptr;
  const Exchange* exchange = nullptr;
  std::string_view routing_key;
  const FieldTable& arguments;
};

// From an exchange to a queue or to another exchange.
class Binding final : public Logged {
 public:
  Exchange* source = nullptr;
  Queue* queue = nullptr;  // Or:
  Exchange* exchange = nullptr;
  std::string routing_key;
  FieldTable arguments;

  std::list<Binding>::iterator place;  // Among its source's.
  size_t at_source = 0;                // In the list that its source finds it by.
  size_t at_destination = 0;           // In the list of what leads there.

  BindingKey key() const { return {queue, exchange, routing_key, arguments}; }
  // Names in the record come from both ends.
  BindingRecord as_record() const;
  std::string record() const override { return as_record().write(RecordType::kBinding); }
};

// Bindings in no order. Each knows its index, so that it is taken out of a million as of one.
using BindingList = std::vector<Binding*>;
void add_to(BindingList& list, size_t Binding::*index, Binding& binding);
void take_from(BindingList& list, size_t Binding::*index, Binding& binding);

struct BindingHash {
  using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name.
  size_t operator()(const BindingKey& key) const;
  size_t operator()(const Binding* binding) const;
};

struct SameBinding {
  using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name.
  bool operator()(const Binding* left, const Binding* right) const { return left == right; }
  bool operator()(const BindingKey& key, const Binding* binding) const;
};

// A message's headers: read, and indexed by name, when they are first asked for. A message may have
// tens of thousands, and a headers exchange asks for each argument of each of its bindings.
class RoutingHeaders {
 public:
  // `properties` outlive this.
  explicit RoutingHeaders(const Properties& properties) : properties_(properties) {}

  const FieldTable& table();
  // nullptr: there is none of that name.
  const FieldValue* find(std::string_view name);

 private:
  const Properties& properties_;
  std::optional<FieldTable> table_;
  std::unordered_map<std::string_view, const FieldValue*> by_name_;  // When they are many.
};

// What a message is routed by: all exchanges on its way look at all of it.
struct RoutingInput {
  std::span<const std::string_view> keys;  // Each once.
  RoutingHeaders& headers;
};

// Routes by its type to what is bound to it. Used on the broker's thread only.
class Exchange final : public Logged {
 public:
  enum class Type { kDirect, kFanout, kTopic, kHeaders };
  static std::optional<Type> type_named(std::string_view name);

  explicit Exchange(ExchangeRecord properties, Type type, bool durable);
  ~Exchange() override;

  const std::string& name() const { return properties_.name; }
  const std::string& vhost() const { return properties_.vhost; }
  Type type() const { return type_; }
  const ExchangeRecord& properties() const { return properties_; }
  bool is_durable() const { return durable_; }
  std::optional<std::string_view> alternate() const {
    return properties_.arguments.text("alternate-exchange");
  }

  bool has_bindings() const { return !bindings_.empty(); }
  const std::list<Binding>& bindings() const { return bindings_; }
  Binding* find(const BindingKey& key) const;
  // Throws ChannelError (406) when a headers exchange's arguments are wrong.
  Binding& bind(Queue* queue, Exchange* exchange, std::string_view routing_key,
                FieldTable arguments);
  void unbind(Binding& binding);

  // Adds the bindings that match, each once.
  void match(const RoutingInput& input, std::vector<Binding*>& matching);

  std::string record() const override { return properties_.write(); }

  BindingList incoming;  // From other exchanges.
  uint64_t routed = 0;   // The routing that came here last.

 private:
  const ExchangeRecord properties_;
  const Type type_;
  const bool durable_;
  std::list<Binding> bindings_;
  std::unordered_set<Binding*, BindingHash, SameBinding> by_all_;
  StringMap<BindingList> by_key_;  // Of a direct exchange.
  TopicTrie by_pattern_;           // Of a topic exchange.
};

}  // namespace postoffice::embedded
