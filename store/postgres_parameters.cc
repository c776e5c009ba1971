#include "store/postgres_parameters.h"

#include <array>
#include <limits>

#include "store/postgres_types.h"

namespace postoffice {
namespace {

using Limits = std::numeric_limits<int64_t>;

template <typename Integer>
void append_big_endian(std::string& bytes, Integer value) {
  std::array<char, sizeof(Integer)> big_endian;
  for (size_t i = 0; i < sizeof(Integer); ++i) {
    const size_t shift = 8 * (sizeof(Integer) - 1 - i);
    big_endian[i] = static_cast<char>(static_cast<uint64_t>(value) >> shift & 0xff);
  }
  bytes.append(big_endian.data(), big_endian.size());
}

void append(std::string& bytes, int64_t value) { append_big_endian(bytes, value); }

void append(std::string& bytes, bool value) { bytes += value ? '\1' : '\0'; }

// The extremes mean ±infinity; what does not fit becomes their neighbours, which are out of range.
void append(std::string& bytes, UnixTime value) {
  int64_t micros = 0;
  if (__builtin_sub_overflow(to_unix_millis(value), kPostgresEpochMillis, &micros) ||
      __builtin_mul_overflow(micros, int64_t{1000}, &micros)) {
    micros = value.time_since_epoch().count() < 0 ? Limits::min() + 1 : Limits::max() - 1;
  }
  append_big_endian(bytes, micros);
}

template <typename Value>
std::string encode(Value value) {
  std::string bytes;
  append(bytes, value);
  return bytes;
}

// array_send() in PostgreSQL's src/backend/utils/adt/arrayfuncs.c: number of dimensions, whether
// there are NULLs, type of the elements; length and lower bound of each dimension; length and bytes
// of each element.
template <typename Value>
std::string encode_array(const std::vector<Value>& values, Oid element_type) {
  std::string bytes;
  append_big_endian<int32_t>(bytes, 1);
  append_big_endian<int32_t>(bytes, 0);
  append_big_endian<uint32_t>(bytes, element_type);
  append_big_endian<int32_t>(bytes, static_cast<int32_t>(values.size()));
  append_big_endian<int32_t>(bytes, 1);
  constexpr int32_t kBytes = std::is_same_v<Value, bool> ? 1 : 8;
  bytes.reserve(bytes.size() + values.size() * (4 + kBytes));
  for (const Value value : values) {
    append_big_endian<int32_t>(bytes, kBytes);
    append(bytes, value);
  }
  return bytes;
}

}  // namespace

PostgresParameters& PostgresParameters::add(int64_t value) { return add(kInt8, encode(value)); }

PostgresParameters& PostgresParameters::add(bool value) { return add(kBool, encode(value)); }

PostgresParameters& PostgresParameters::add(UnixTime value) {
  return add(kTimestamptz, encode(value));
}

PostgresParameters& PostgresParameters::add(std::optional<UnixTime> value) {
  return value ? add(*value) : add(kTimestamptz, std::nullopt);
}

PostgresParameters& PostgresParameters::add(std::string_view value) {
  return add(kText, std::string(value));
}

PostgresParameters& PostgresParameters::add(const std::vector<int64_t>& values) {
  return add(kInt8Array, encode_array(values, kInt8));
}

PostgresParameters& PostgresParameters::add(const std::vector<bool>& values) {
  return add(kBoolArray, encode_array(values, kBool));
}

PostgresParameters& PostgresParameters::add(const std::vector<UnixTime>& values) {
  return add(kTimestamptzArray, encode_array(values, kTimestamptz));
}

PostgresParameters& PostgresParameters::add(Oid type, std::optional<std::string> bytes) {
  types_.push_back(type);
  bytes_.push_back(std::move(bytes));
  return *this;
}

std::vector<const char*> PostgresParameters::values() const {
  std::vector<const char*> values;
  for (const auto& bytes : bytes_) values.push_back(bytes ? bytes->data() : nullptr);
  return values;
}

std::vector<int> PostgresParameters::lengths() const {
  std::vector<int> lengths;
  for (const auto& bytes : bytes_) {
    lengths.push_back(bytes ? static_cast<int>(bytes->size()) : 0);
  }
  return lengths;
}

}  // namespace postoffice
