#include "tests/amqp/table.h"

#include <ostream>
#include <stdexcept>
#include <utility>

namespace postoffice::amqp_test {
namespace {

bool is_integer(char kind) {
  return std::string_view("bBsuIilLT").find(kind) != std::string_view::npos;
}

amqp_field_value_t to_wire(const Value& value, amqp_pool_t& pool) {
  amqp_field_value_t wire{};
  wire.kind = static_cast<uint8_t>(value.kind);
  switch (value.kind) {
    case 't':
      wire.value.boolean = static_cast<amqp_boolean_t>(value.integer);
      break;
    case 'b':
    case 'B':
      wire.value.u8 = static_cast<uint8_t>(value.integer);
      break;
    case 's':
    case 'u':
      wire.value.u16 = static_cast<uint16_t>(value.integer);
      break;
    case 'I':
    case 'i':
      wire.value.u32 = static_cast<uint32_t>(value.integer);
      break;
    case 'l':
    case 'L':
    case 'T':
      wire.value.u64 = static_cast<uint64_t>(value.integer);
      break;
    case 'f':
      wire.value.f32 = static_cast<float>(value.real);
      break;
    case 'd':
      wire.value.f64 = value.real;
      break;
    case 'D':
      wire.value.decimal.decimals = value.decimals;
      wire.value.decimal.value = static_cast<uint32_t>(value.integer);
      break;
    case 'S':
    case 'x':
      wire.value.bytes = bytes(value.text);
      break;
    case 'A': {
      auto* items = static_cast<amqp_field_value_t*>(
          amqp_pool_alloc(&pool, sizeof(amqp_field_value_t) * (value.array.size() + 1)));
      for (size_t i = 0; i < value.array.size(); ++i) {
        items[i] = to_wire(value.array[i], pool);
      }
      wire.value.array = {static_cast<int>(value.array.size()), items};
      break;
    }
    case 'F':
      wire.value.table = amqp_test::to_wire(value.table, pool);
      break;
    default:
      break;
  }
  return wire;
}

Value from_wire(const amqp_field_value_t& wire) {
  Value value;
  value.kind = static_cast<char>(wire.kind);
  switch (value.kind) {
    case 't':
      value.integer = wire.value.boolean;
      break;
    case 'b':
      // NOLINTNEXTLINE(bugprone-signed-char-misuse): it is a number.
      value.integer = wire.value.i8;
      break;
    case 'B':
      value.integer = wire.value.u8;
      break;
    case 's':
      value.integer = wire.value.i16;
      break;
    case 'u':
      value.integer = wire.value.u16;
      break;
    case 'I':
      value.integer = wire.value.i32;
      break;
    case 'i':
      value.integer = wire.value.u32;
      break;
    case 'l':
    case 'L':
    case 'T':
      value.integer = wire.value.i64;
      break;
    case 'f':
      value.real = wire.value.f32;
      break;
    case 'd':
      value.real = wire.value.f64;
      break;
    case 'D':
      value.decimals = wire.value.decimal.decimals;
      value.integer = wire.value.decimal.value;
      break;
    case 'S':
    case 'x':
      value.text = to_string(wire.value.bytes);
      break;
    case 'A':
      for (int i = 0; i < wire.value.array.num_entries; ++i) {
        value.array.push_back(from_wire(wire.value.array.entries[i]));
      }
      break;
    case 'F':
      value.table = amqp_test::from_wire(wire.value.table);
      break;
    default:
      break;
  }
  return value;
}

const Value& required(const Table& table, std::string_view name) {
  const Value* value = find(table, name);
  if (value == nullptr) {
    throw std::runtime_error("no field \"" + std::string(name) + "\" in the table");
  }
  return *value;
}

}  // namespace

Value::Value() = default;
Value::Value(bool boolean) : kind('t'), integer(boolean ? 1 : 0) {}
Value::Value(int integer) : kind('I'), integer(integer) {}
Value::Value(int64_t integer) : kind('l'), integer(integer) {}
Value::Value(double real) : kind('d'), real(real) {}
Value::Value(const char* text) : kind('S'), text(text) {}
Value::Value(std::string text) : kind('S'), text(std::move(text)) {}
Value::Value(std::vector<Value> items) : kind('A'), array(std::move(items)) {}
Value::Value(Table entries) : kind('F'), table(std::move(entries)) {}

Value Value::of(char kind, int64_t integer) {
  Value value;
  value.kind = kind;
  value.integer = integer;
  return value;
}

Value Value::of(char kind, std::string text) {
  Value value(std::move(text));
  value.kind = kind;
  return value;
}

Value Value::float32(float real) {
  Value value(static_cast<double>(real));
  value.kind = 'f';
  return value;
}

Value Value::decimal(uint8_t decimals, uint32_t integer) {
  Value value = of('D', static_cast<int64_t>(integer));
  value.decimals = decimals;
  return value;
}

bool Value::operator==(const Value& other) const {
  return kind == other.kind && integer == other.integer && real == other.real &&
         decimals == other.decimals && text == other.text && array == other.array &&
         table == other.table;
}

const Value* find(const Table& table, std::string_view name) {
  for (const Entry& entry : table) {
    if (entry.name == name) return &entry.value;
  }
  return nullptr;
}

std::string text_of(const Table& table, std::string_view name) {
  const Value& value = required(table, name);
  if (value.kind != 'S') throw std::runtime_error(std::string(name) + " is not text");
  return value.text;
}

int64_t integer_of(const Table& table, std::string_view name) {
  const Value& value = required(table, name);
  if (!is_integer(value.kind)) throw std::runtime_error(std::string(name) + " is not an integer");
  return value.integer;
}

void PrintTo(const Value& value, std::ostream* out) {
  *out << value.kind << ':';
  switch (value.kind) {
    case 'f':
    case 'd':
      *out << value.real;
      break;
    case 'S':
    case 'x':
      *out << '"' << value.text << '"';
      break;
    case 'A':
      *out << '[';
      for (const Value& item : value.array) {
        PrintTo(item, out);
        *out << ' ';
      }
      *out << ']';
      break;
    case 'F':
      *out << '{';
      for (const Entry& entry : value.table) PrintTo(entry, out);
      *out << '}';
      break;
    default:
      *out << value.integer;
  }
}

void PrintTo(const Entry& entry, std::ostream* out) {
  *out << entry.name << '=';
  PrintTo(entry.value, out);
  *out << ' ';
}

Pool make_pool() {
  auto* pool = new amqp_pool_t;
  init_amqp_pool(pool, 4096);
  return {pool, [](amqp_pool_t* used) {
            empty_amqp_pool(used);
            delete used;
          }};
}

amqp_bytes_t bytes(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

std::string to_string(amqp_bytes_t bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

amqp_table_t to_wire(const Table& table, amqp_pool_t& pool) {
  auto* entries = static_cast<amqp_table_entry_t*>(
      amqp_pool_alloc(&pool, sizeof(amqp_table_entry_t) * (table.size() + 1)));
  for (size_t i = 0; i < table.size(); ++i) {
    entries[i].key = bytes(table[i].name);
    entries[i].value = to_wire(table[i].value, pool);
  }
  return {static_cast<int>(table.size()), entries};
}

Table from_wire(const amqp_table_t& table) {
  Table result;
  for (int i = 0; i < table.num_entries; ++i) {
    result.push_back({to_string(table.entries[i].key), from_wire(table.entries[i].value)});
  }
  return result;
}

}  // namespace postoffice::amqp_test
