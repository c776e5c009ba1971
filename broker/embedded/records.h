#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/embedded/field_table.h"

namespace postoffice::embedded {

// The records of the broker's log. Their layout: docs/embedded-log.md, "What the records hold".
enum class RecordType : uint8_t {
  kMessage = 'M',
  kTransient = 'T',  // A message that is on disk only to save memory: nothing after a restart.
  kSettled = 'A',
  kReturned = 'R',
  kQueue = 'Q',
  kQueueDeleted = 'q',
  kExchange = 'E',
  kExchangeDeleted = 'e',
  kBinding = 'B',
  kUnbound = 'b',
};

struct QueueRecord {
  uint64_t id = 0;
  std::string vhost;
  std::string name;
  bool exclusive = false;
  bool auto_delete = false;
  FieldTable arguments;

  static QueueRecord read(WireReader& reader);
  std::string write() const;
};

struct ExchangeRecord {
  std::string vhost;
  std::string name;
  std::string type;
  bool auto_delete = false;
  bool internal = false;
  FieldTable arguments;

  static ExchangeRecord read(WireReader& reader);
  std::string write() const;
};

struct BindingRecord {
  std::string vhost;
  std::string source;
  bool to_exchange = false;
  std::string destination;
  std::string routing_key;
  FieldTable arguments;

  static BindingRecord read(WireReader& reader);
  // As kBinding or kUnbound.
  std::string write(RecordType type) const;
};

}  // namespace postoffice::embedded
