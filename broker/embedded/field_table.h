#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "broker/embedded/wire.h"

namespace postoffice::embedded {

struct FieldEntry;
struct FieldValue;

// An AMQP field table: names and typed values in the order they came in. Types and letters are
// RabbitMQ's (https://www.rabbitmq.com/amqp-0-9-1-errata.html#section_3), which differ from the
// specification's in a few.
class FieldTable {
 public:
  // Reads a table with its length. Throws ConnectionError: 501 when it ends too soon, 502 when a
  // type is unknown or tables are nested deeper than kMostNesting.
  static FieldTable read(WireReader& reader);
  // Moves `reader` past a table after the same checks, and returns its bytes with the length.
  static std::string_view skip(WireReader& reader);
  void write(WireWriter& writer) const;

  const FieldValue* find(std::string_view name) const;
  // The value when it is text; and when it is an integer of any width.
  std::optional<std::string_view> text(std::string_view name) const;
  std::optional<int64_t> integer(std::string_view name) const;
  // Of two values of one name, the first is found.
  void append(std::string_view name, FieldValue value);
  // Replaces the value of that name, or appends it.
  void set(std::string_view name, FieldValue value);
  void erase(std::string_view name);

  bool empty() const { return entries_.empty(); }
  size_t size() const;
  std::vector<FieldEntry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<FieldEntry>::const_iterator end() const { return entries_.end(); }

  static constexpr int kMostNesting = 64;

 private:
  std::vector<FieldEntry> entries_;
};

using FieldArray = std::vector<FieldValue>;

struct FieldValue {
  // Letter of the type on the wire.
  char type = 'V';
  // b B s u I i l L t T: int64_t (L: its bits); f d: double; S x D: bytes (D: five, as on the
  // wire); A, F: nested; V: nothing.
  std::variant<std::monostate, int64_t, double, std::string, FieldArray, FieldTable> value;

  static FieldValue of(std::string_view text);
  static FieldValue of(int64_t integer);  // As 'l'.
  static FieldValue timestamp(int64_t unix_seconds);
  static FieldValue of(FieldArray array);
  static FieldValue of(FieldTable table);

  const std::string* text() const;         // Of type S.
  std::optional<int64_t> integer() const;  // Of any integer type.
};

struct FieldEntry {
  std::string name;
  FieldValue value;
};

// The same type class and value: integers of any width are equal when their values are.
bool operator==(const FieldValue& left, const FieldValue& right);
bool operator==(const FieldEntry& left, const FieldEntry& right);
bool operator==(const FieldTable& left, const FieldTable& right);
// The same of equal ones.
size_t hash_of(const FieldValue& value);
size_t hash_of(const FieldTable& table);

}  // namespace postoffice::embedded
