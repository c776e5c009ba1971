#include "tests/fuzz/input.h"

namespace postoffice::fuzz {
namespace {

constexpr std::string_view kBetween = "\xCE\xCE";

}  // namespace

Part Part::frame(uint8_t type, uint16_t channel, std::string content) {
  return {static_cast<uint8_t>((type - 1) | channel << 2), std::move(content)};
}

Input Input::read(std::string_view bytes) {
  Input input;
  if (bytes.empty()) return input;
  input.options = static_cast<uint8_t>(bytes[0]);
  bytes.remove_prefix(1);
  while (!bytes.empty()) {
    const auto end = bytes.find(kBetween);
    const auto part = bytes.substr(0, end);
    if (!part.empty()) {
      input.parts.push_back({static_cast<uint8_t>(part[0]), std::string(part.substr(1))});
    }
    if (end == std::string_view::npos) break;
    bytes.remove_prefix(end + kBetween.size());
  }
  return input;
}

std::string Input::write() const {
  std::string bytes(1, static_cast<char>(options));
  for (const auto& part : parts) {
    if (bytes.size() > 1) bytes += kBetween;
    bytes += static_cast<char>(part.head);
    bytes += part.content;
  }
  return bytes;
}

}  // namespace postoffice::fuzz
