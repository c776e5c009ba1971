// The codec on any bytes: what parses, and is written again, parses to the same.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "broker/embedded/field_table.h"
#include "broker/embedded/frame.h"
#include "broker/embedded/properties.h"

namespace postoffice::embedded {
namespace {

constexpr uint32_t kFrameMax = 131'072;

void require(bool holds) {
  if (!holds) std::abort();
}

// Not a number is equal to nothing, and as a float it may come back quieted.
bool has_nan(const FieldValue& value);

bool has_nan(const FieldTable& table) {
  for (const auto& [name, value] : table) {
    if (has_nan(value)) return true;
  }
  return false;
}

bool has_nan(const FieldValue& value) {
  if (const auto* const number = std::get_if<double>(&value.value)) return std::isnan(*number);
  if (const auto* const table = std::get_if<FieldTable>(&value.value)) return has_nan(*table);
  if (const auto* const array = std::get_if<FieldArray>(&value.value)) {
    for (const auto& item : *array) {
      if (has_nan(item)) return true;
    }
  }
  return false;
}

// Skipping and reading refuse the same. What is written has the bytes that were read.
void check_table(std::string_view bytes) {
  WireReader skipping(bytes);
  std::string_view skipped;
  bool skips = true;
  try {
    skipped = FieldTable::skip(skipping);
  } catch (const ConnectionError&) {
    skips = false;
  }
  WireReader reading(bytes);
  FieldTable table;
  try {
    table = FieldTable::read(reading);
    require(skips);
  } catch (const ConnectionError&) {
    require(!skips);
    return;
  }
  require(reading.rest().size() == skipping.rest().size());
  std::string written;
  WireWriter writer(written);
  table.write(writer);
  require(written.size() == skipped.size());
  WireReader again(written);
  const auto reread = FieldTable::read(again);
  require(again.at_end());
  if (has_nan(table)) {
    require(has_nan(reread));
    return;
  }
  require(written == skipped);
  require(reread == table);
  for (const auto& [name, value] : table) require(table.find(name) != nullptr);
}

void check_same(const Properties& left, const Properties& right) {
  require(left.content_type == right.content_type);
  require(left.content_encoding == right.content_encoding);
  require(left.headers == right.headers);
  require(left.delivery_mode == right.delivery_mode);
  require(left.priority == right.priority);
  require(left.correlation_id == right.correlation_id);
  require(left.reply_to == right.reply_to);
  require(left.expiration == right.expiration);
  require(left.message_id == right.message_id);
  require(left.timestamp == right.timestamp);
  require(left.type == right.type);
  require(left.user_id == right.user_id);
  require(left.app_id == right.app_id);
  require(left.cluster_id == right.cluster_id);
}

void check_properties(std::string_view bytes) {
  Properties properties;
  try {
    properties = Properties::read(bytes);
  } catch (const ConnectionError&) {
    return;
  }
  const std::string written = properties.write();
  const auto reread = Properties::read(written);
  check_same(properties, reread);
  require(reread.write() == written);
  if (properties.headers) check_table(*properties.headers);
  if (properties.expiration) {
    try {
      require(expiration_of(*properties.expiration) >= Millis(0));
    } catch (const ChannelError&) {
      return;
    }
  }
}

// The frames that the bytes begin with; a content header's properties are read and written too.
void check_frames(std::string_view bytes) {
  try {
    for (;;) {
      const auto frame = parse_frame(bytes, kFrameMax);
      if (frame.bytes == 0) return;
      require(frame.bytes == frame.payload.size() + kFrameOverheadBytes);
      require(frame.bytes <= bytes.size());
      std::string written;
      if (frame.type == kMethodFrame && frame.payload.size() >= 4) {
        WireReader reader(frame.payload);
        const uint32_t method = reader.u32();
        MethodWriter(written, frame.channel, method)->bytes(reader.rest());
        require(written == bytes.substr(0, frame.bytes));
        for (size_t at = 0; at <= reader.rest().size(); ++at) check_table(reader.rest().substr(at));
      } else if (frame.type == kHeaderFrame && frame.payload.size() >= 12) {
        const auto properties = frame.payload.substr(12);
        check_properties(properties);
        write_content(written, frame.channel, kFrameMax, properties, "");
        require(parse_frame(written, kFrameMax).payload.substr(12) == properties);
      } else if (frame.type == kBodyFrame && !frame.payload.empty()) {
        write_content(written, frame.channel, kFrameMax, "", frame.payload);
        require(written.ends_with(bytes.substr(0, frame.bytes)));
      }
      bytes.remove_prefix(frame.bytes);
    }
  } catch (const ConnectionError&) {
    return;
  }
}

}  // namespace
}  // namespace postoffice::embedded

// The first byte chooses what the others are: a table, properties, frames.
// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postoffice::embedded;  // NOLINT(google-build-using-namespace)
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      check_table(bytes);
      break;
    case 1:
      check_properties(bytes);
      break;
    default:
      check_frames(bytes);
  }
  return 0;
}
