#include "broker/embedded/field_table.h"

#include <algorithm>
#include <boost/container_hash/hash.hpp>

namespace postoffice::embedded {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw ConnectionError(ReplyCode::kSyntaxError, why);
}

// Bytes of a value of a type of fixed size; 0 for the others.
size_t fixed_size(char type) {
  switch (type) {
    case 't':
    case 'b':
    case 'B':
      return 1;
    case 's':
    case 'u':
      return 2;
    case 'I':
    case 'i':
    case 'f':
      return 4;
    case 'D':
      return 5;
    case 'l':
    case 'L':
    case 'd':
    case 'T':
      return 8;
    default:
      return 0;
  }
}

void check_nesting(int depth) {
  if (depth > FieldTable::kMostNesting) {
    refuse("tables are nested deeper than " + std::to_string(FieldTable::kMostNesting));
  }
}

void skip_value(WireReader& reader, char type, int depth);

void skip_table(std::string_view bytes, int depth) {
  check_nesting(depth);
  WireReader reader(bytes);
  while (!reader.at_end()) {
    reader.short_string();
    const char type = static_cast<char>(reader.octet());
    skip_value(reader, type, depth);
  }
}

void skip_value(WireReader& reader, char type, int depth) {
  if (const size_t size = fixed_size(type); size > 0) {
    reader.take(size);
  } else if (type == 'S' || type == 'x') {
    reader.long_string();
  } else if (type == 'F') {
    skip_table(reader.long_string(), depth + 1);
  } else if (type == 'A') {
    check_nesting(depth + 1);
    WireReader items(reader.long_string());
    while (!items.at_end()) {
      const char item = static_cast<char>(items.octet());
      skip_value(items, item, depth + 1);
    }
  } else if (type != 'V') {
    refuse("a table has a value of the unknown type '" + std::string(1, type) + "'");
  }
}

FieldTable read_table(std::string_view bytes, int depth);

FieldValue read_value(WireReader& reader, char type, int depth) {
  FieldValue value{type, {}};
  switch (type) {
    case 't':
    case 'B':
      value.value = int64_t{reader.octet()};
      break;
    case 'b':
      value.value = int64_t{static_cast<int8_t>(reader.octet())};
      break;
    case 's':
      value.value = int64_t{static_cast<int16_t>(reader.u16())};
      break;
    case 'u':
      value.value = int64_t{reader.u16()};
      break;
    case 'I':
      value.value = int64_t{static_cast<int32_t>(reader.u32())};
      break;
    case 'i':
      value.value = int64_t{reader.u32()};
      break;
    case 'l':
    case 'L':
    case 'T':
      value.value = static_cast<int64_t>(reader.u64());
      break;
    case 'f':
      value.value = double{std::bit_cast<float>(reader.u32())};
      break;
    case 'd':
      value.value = std::bit_cast<double>(reader.u64());
      break;
    case 'D':
      value.value = std::string(reader.take(5));
      break;
    case 'S':
    case 'x':
      value.value = std::string(reader.long_string());
      break;
    case 'F':
      value.value = read_table(reader.long_string(), depth + 1);
      break;
    case 'A': {
      check_nesting(depth + 1);
      WireReader items(reader.long_string());
      FieldArray array;
      while (!items.at_end()) {
        const char item = static_cast<char>(items.octet());
        array.push_back(read_value(items, item, depth + 1));
      }
      value.value = std::move(array);
      break;
    }
    case 'V':
      break;
    default:
      refuse("a table has a value of the unknown type '" + std::string(1, type) + "'");
  }
  return value;
}

FieldTable read_table(std::string_view bytes, int depth) {
  check_nesting(depth);
  WireReader reader(bytes);
  FieldTable table;
  while (!reader.at_end()) {
    const auto name = reader.short_string();
    const char type = static_cast<char>(reader.octet());
    table.append(name, read_value(reader, type, depth));
  }
  return table;
}

void write_value(WireWriter& writer, const FieldValue& value);

// `write` writes what the length counts.
void write_counted(WireWriter& writer, auto&& write) {
  const size_t start = writer.out().size();
  writer.u32(0);
  write();
  patch_u32(writer.out(), start, static_cast<uint32_t>(writer.out().size() - start - 4));
}

void write_value(WireWriter& writer, const FieldValue& value) {
  writer.octet(static_cast<uint8_t>(value.type));
  const auto* const integer = std::get_if<int64_t>(&value.value);
  switch (value.type) {
    case 't':
    case 'b':
    case 'B':
      writer.octet(static_cast<uint8_t>(*integer));
      break;
    case 's':
    case 'u':
      writer.u16(static_cast<uint16_t>(*integer));
      break;
    case 'I':
    case 'i':
      writer.u32(static_cast<uint32_t>(*integer));
      break;
    case 'l':
    case 'L':
    case 'T':
      writer.u64(static_cast<uint64_t>(*integer));
      break;
    case 'f':
      writer.u32(std::bit_cast<uint32_t>(static_cast<float>(std::get<double>(value.value))));
      break;
    case 'd':
      writer.u64(std::bit_cast<uint64_t>(std::get<double>(value.value)));
      break;
    case 'D':
      writer.bytes(std::get<std::string>(value.value));
      break;
    case 'S':
    case 'x':
      writer.long_string(std::get<std::string>(value.value));
      break;
    case 'F':
      std::get<FieldTable>(value.value).write(writer);
      break;
    case 'A':
      write_counted(writer, [&] {
        for (const auto& item : std::get<FieldArray>(value.value)) write_value(writer, item);
      });
      break;
    default:
      break;
  }
}

}  // namespace

FieldTable FieldTable::read(WireReader& reader) { return read_table(reader.long_string(), 1); }

std::string_view FieldTable::skip(WireReader& reader) {
  const auto before = reader.rest();
  skip_table(reader.long_string(), 1);
  return before.substr(0, before.size() - reader.rest().size());
}

void FieldTable::write(WireWriter& writer) const {
  write_counted(writer, [&] {
    for (const auto& [name, value] : entries_) {
      writer.short_string(name);
      write_value(writer, value);
    }
  });
}

size_t FieldTable::size() const { return entries_.size(); }

const FieldValue* FieldTable::find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &FieldEntry::name);
  return found == entries_.end() ? nullptr : &found->value;
}

std::optional<std::string_view> FieldTable::text(std::string_view name) const {
  const auto* const value = find(name);
  const auto* const text = value != nullptr ? value->text() : nullptr;
  if (text == nullptr) return std::nullopt;
  return *text;
}

std::optional<int64_t> FieldTable::integer(std::string_view name) const {
  const auto* const value = find(name);
  return value != nullptr ? value->integer() : std::nullopt;
}

void FieldTable::append(std::string_view name, FieldValue value) {
  entries_.push_back({std::string(name), std::move(value)});
}

void FieldTable::set(std::string_view name, FieldValue value) {
  const auto found = std::ranges::find(entries_, name, &FieldEntry::name);
  if (found == entries_.end()) {
    entries_.push_back({std::string(name), std::move(value)});
  } else {
    found->value = std::move(value);
  }
}

void FieldTable::erase(std::string_view name) {
  std::erase_if(entries_, [name](const FieldEntry& entry) { return entry.name == name; });
}

FieldValue FieldValue::of(std::string_view text) { return {'S', std::string(text)}; }
FieldValue FieldValue::of(int64_t integer) { return {'l', integer}; }
FieldValue FieldValue::timestamp(int64_t unix_seconds) { return {'T', unix_seconds}; }
FieldValue FieldValue::of(FieldArray array) { return {'A', std::move(array)}; }
FieldValue FieldValue::of(FieldTable table) { return {'F', std::move(table)}; }

const std::string* FieldValue::text() const {
  return type == 'S' ? std::get_if<std::string>(&value) : nullptr;
}

std::optional<int64_t> FieldValue::integer() const {
  if (std::string_view("bBsuIilL").find(type) == std::string_view::npos) return std::nullopt;
  return std::get<int64_t>(value);
}

bool operator==(const FieldValue& left, const FieldValue& right) {
  if (left.integer() && right.integer()) return left.integer() == right.integer();
  return left.type == right.type && left.value == right.value;
}

bool operator==(const FieldEntry& left, const FieldEntry& right) {
  return left.name == right.name && left.value == right.value;
}

bool operator==(const FieldTable& left, const FieldTable& right) {
  return std::ranges::equal(left, right);
}

size_t hash_of(const FieldValue& value) {
  if (const auto integer = value.integer()) return std::hash<int64_t>()(*integer);
  if (const auto* const bytes = std::get_if<std::string>(&value.value)) {
    return std::hash<std::string>()(*bytes);
  }
  if (const auto* const number = std::get_if<double>(&value.value)) {
    return std::hash<double>()(*number);
  }
  if (const auto* const table = std::get_if<FieldTable>(&value.value)) return hash_of(*table);
  size_t seed = 0;
  if (const auto* const array = std::get_if<FieldArray>(&value.value)) {
    for (const auto& item : *array) boost::hash_combine(seed, hash_of(item));
  }
  return seed;
}

size_t hash_of(const FieldTable& table) {
  size_t seed = 0;
  for (const auto& [name, value] : table) {
    boost::hash_combine(seed, std::hash<std::string>()(name));
    boost::hash_combine(seed, hash_of(value));
  }
  return seed;
}

}  // namespace postoffice::embedded
