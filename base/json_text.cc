#include "base/json_text.h"

#include <cstdint>

namespace postoffice {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// Length of the UTF-8 sequence at the start of `text` (RFC 3629: no overlong forms, no
// surrogates), 0 when there is none.
size_t utf8_length(std::string_view text) {
  const auto at = [&](size_t index) -> unsigned char {
    return index < text.size() ? static_cast<unsigned char>(text[index]) : 0;
  };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return is_continuation(at(1)) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && at(1) < 0xA0;
    const bool surrogate = first == 0xED && at(1) > 0x9F;
    const bool sound = is_continuation(at(1)) && is_continuation(at(2));
    return sound && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && at(1) < 0x90;
    const bool beyond = first == 0xF4 && at(1) > 0x8F;
    const bool sound = is_continuation(at(1)) && is_continuation(at(2)) && is_continuation(at(3));
    return sound && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& json, char byte) {
  switch (byte) {
    case '"':
      json += "\\\"";
      return;
    case '\\':
      json += "\\\\";
      return;
    case '\n':
      json += "\\n";
      return;
    case '\r':
      json += "\\r";
      return;
    case '\t':
      json += "\\t";
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(byte) >= 0x20) {
    json += byte;
    return;
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  json += "\\u00";
  json += kDigits[static_cast<uint8_t>(byte) >> 4];
  json += kDigits[byte & 0xF];
}

}  // namespace

std::string json_quote(std::string_view text) {
  std::string json = "\"";
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) {
      json += kReplacement;
    } else if (length == 1) {
      append_escaped(json, text.front());
    } else {
      json += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return json + '"';
}

}  // namespace postoffice
