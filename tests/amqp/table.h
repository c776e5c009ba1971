#pragma once

#include <amqp.h>

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace postoffice::amqp_test {

struct Entry;
using Table = std::vector<Entry>;

// A field value; `kind` is its letter on the wire, in RabbitMQ's reading
// (https://www.rabbitmq.com/amqp-0-9-1-errata.html#section_3).
// NOLINTBEGIN(google-explicit-constructor): tables are written as they read.
struct Value {
  Value();
  Value(bool boolean);
  Value(int integer);      // I
  Value(int64_t integer);  // l
  Value(double real);      // d
  Value(const char* text);
  Value(std::string text);
  Value(std::vector<Value> items);
  Value(Table entries);
  static Value of(char kind, int64_t integer);
  static Value of(char kind, std::string text);
  static Value float32(float real);
  static Value decimal(uint8_t decimals, uint32_t integer);

  // Integers are equal when kind and value are.
  bool operator==(const Value& other) const;

  char kind = 'V';
  int64_t integer = 0;  // t b B s u I i l L T D
  double real = 0;      // f d
  uint8_t decimals = 0;
  std::string text;  // S x
  std::vector<Value> array;
  Table table;
};
// NOLINTEND(google-explicit-constructor)

struct Entry {
  std::string name;
  Value value;
  bool operator==(const Entry& other) const = default;
};

const Value* find(const Table& table, std::string_view name);
// Each throws when there is none of that name, or of another type. An integer has any width.
std::string text_of(const Table& table, std::string_view name);
int64_t integer_of(const Table& table, std::string_view name);

// Their name is GoogleTest's.
// NOLINTBEGIN(readability-identifier-naming)
void PrintTo(const Value& value, std::ostream* out);
void PrintTo(const Entry& entry, std::ostream* out);
// NOLINTEND(readability-identifier-naming)

// Memory of librabbitmq's codec; decoded values point into it.
using Pool = std::shared_ptr<amqp_pool_t>;
Pool make_pool();

// Views into `text`, which outlives them.
amqp_bytes_t bytes(std::string_view text);
std::string to_string(amqp_bytes_t bytes);

amqp_table_t to_wire(const Table& table, amqp_pool_t& pool);
Table from_wire(const amqp_table_t& table);

}  // namespace postoffice::amqp_test
