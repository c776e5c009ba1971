#include "broker/embedded/records.h"

namespace postoffice::embedded {
namespace {

std::string string_of(std::string_view text) { return std::string(text); }

WireWriter begin(std::string& out, RecordType type) {
  WireWriter writer(out);
  writer.octet(static_cast<uint8_t>(type));
  return writer;
}

uint8_t flags_of(bool first, bool second) {
  return static_cast<uint8_t>((first ? 1 : 0) | (second ? 2 : 0));
}

}  // namespace

QueueRecord QueueRecord::read(WireReader& reader) {
  QueueRecord record;
  record.id = reader.u64();
  record.vhost = string_of(reader.short_string());
  record.name = string_of(reader.short_string());
  const uint8_t flags = reader.octet();
  record.exclusive = (flags & 1) != 0;
  record.auto_delete = (flags & 2) != 0;
  record.arguments = FieldTable::read(reader);
  return record;
}

std::string QueueRecord::write() const {
  std::string out;
  auto writer = begin(out, RecordType::kQueue);
  writer.u64(id).short_string(vhost).short_string(name).octet(flags_of(exclusive, auto_delete));
  arguments.write(writer);
  return out;
}

ExchangeRecord ExchangeRecord::read(WireReader& reader) {
  ExchangeRecord record;
  record.vhost = string_of(reader.short_string());
  record.name = string_of(reader.short_string());
  record.type = string_of(reader.short_string());
  const uint8_t flags = reader.octet();
  record.auto_delete = (flags & 1) != 0;
  record.internal = (flags & 2) != 0;
  record.arguments = FieldTable::read(reader);
  return record;
}

std::string ExchangeRecord::write() const {
  std::string out;
  auto writer = begin(out, RecordType::kExchange);
  writer.short_string(vhost).short_string(name).short_string(type);
  writer.octet(flags_of(auto_delete, internal));
  arguments.write(writer);
  return out;
}

BindingRecord BindingRecord::read(WireReader& reader) {
  BindingRecord record;
  record.vhost = string_of(reader.short_string());
  record.source = string_of(reader.short_string());
  record.to_exchange = reader.octet() != 0;
  record.destination = string_of(reader.short_string());
  record.routing_key = string_of(reader.short_string());
  record.arguments = FieldTable::read(reader);
  return record;
}

std::string BindingRecord::write(RecordType type) const {
  std::string out;
  auto writer = begin(out, type);
  writer.short_string(vhost).short_string(source).octet(to_exchange ? 1 : 0);
  writer.short_string(destination).short_string(routing_key);
  arguments.write(writer);
  return out;
}

}  // namespace postoffice::embedded
