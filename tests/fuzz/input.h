#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postoffice::fuzz {

// What the client in a part of the input does.
enum class Action : uint8_t {
  kFrame,      // Sends the content as the payload of a frame.
  kBytes,      // Sends it as it is.
  kReconnect,  // Ends the connection, and opens it again.
  kOddFrame,   // Sends a frame whose type and channel are the first bytes of the content.
};

// One step, and what it is made of on the input: an octet, and the content.
struct Part {
  static constexpr uint8_t kSettles = 0x20;

  uint8_t head = 0;
  std::string content;

  uint8_t type() const { return static_cast<uint8_t>(1 + (head & 3)); }  // Method, header, body, 4.
  uint16_t channel() const { return head >> 2 & 3; }
  size_t client() const { return head >> 4 & 1; }
  // First everything that was sent before is answered.
  bool settles() const { return (head & kSettles) != 0; }
  Action action() const { return static_cast<Action>(head >> 6); }

  static Part frame(uint8_t type, uint16_t channel, std::string content);
};

// A fuzz input for whole connections: an octet of options, then parts with two frame-end octets
// between them, so that what is inserted or cut in one part leaves the others as they are.
struct Input {
  static constexpr uint8_t kNoHandshake = 1;
  static constexpr uint8_t kRestarts = 2;
  static constexpr uint8_t kNoCapabilities = 4;
  static constexpr uint8_t kSmallFrames = 8;

  uint8_t options = 0;
  std::vector<Part> parts;

  static Input read(std::string_view bytes);
  std::string write() const;
};

}  // namespace postoffice::fuzz
