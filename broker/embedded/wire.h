#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "broker/embedded/amqp_error.h"

namespace postoffice::embedded {

// Reads AMQP's primitive types (AMQP 0-9-1 section 4.2.5), big-endian, from bytes that outlive it.
// Everything throws ConnectionError (501) when the bytes end before.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  uint8_t octet() { return static_cast<uint8_t>(take(1)[0]); }
  uint16_t u16() { return static_cast<uint16_t>(number(2)); }
  uint32_t u32() { return static_cast<uint32_t>(number(4)); }
  uint64_t u64() { return number(8); }
  std::string_view short_string() { return take(octet()); }
  std::string_view long_string() { return take(u32()); }
  std::string_view take(size_t count) {
    if (count > bytes_.size()) {
      throw ConnectionError(ReplyCode::kFrameError, "the arguments end too soon");
    }
    const auto taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::string_view rest() const { return bytes_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  uint64_t number(size_t count) {
    uint64_t value = 0;
    for (const char byte : take(count)) value = value << 8 | static_cast<uint8_t>(byte);
    return value;
  }

  std::string_view bytes_;
};

// Appends AMQP's primitive types to `out`, which outlives it.
class WireWriter {
 public:
  explicit WireWriter(std::string& out) : out_(out) {}

  WireWriter& octet(uint8_t value) {
    out_.push_back(static_cast<char>(value));
    return *this;
  }
  WireWriter& u16(uint16_t value) { return number(value, 2); }
  WireWriter& u32(uint32_t value) { return number(value, 4); }
  WireWriter& u64(uint64_t value) { return number(value, 8); }
  // Cut at 255 bytes.
  WireWriter& short_string(std::string_view text) {
    text = text.substr(0, 255);
    return octet(static_cast<uint8_t>(text.size())).bytes(text);
  }
  WireWriter& long_string(std::string_view text) {
    return u32(static_cast<uint32_t>(text.size())).bytes(text);
  }
  WireWriter& bytes(std::string_view text) {
    out_.append(text);
    return *this;
  }
  std::string& out() { return out_; }

 private:
  WireWriter& number(uint64_t value, int count) {
    char bytes[8];
    for (int i = 0; i < count; ++i) bytes[i] = static_cast<char>(value >> 8 * (count - 1 - i));
    out_.append(bytes, static_cast<size_t>(count));
    return *this;
  }

  std::string& out_;
};

// Writes `value`, big-endian, over the four bytes of `out` at `offset`.
inline void patch_u32(std::string& out, size_t offset, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) out[offset + i] = static_cast<char>(value >> 8 * (3 - i));
}

}  // namespace postoffice::embedded
