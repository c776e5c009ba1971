#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "broker/embedded/wire.h"

namespace postoffice::embedded {

// Frames: AMQP 0-9-1 section 4.2.3.
constexpr uint8_t kMethodFrame = AMQP_FRAME_METHOD;
constexpr uint8_t kHeaderFrame = AMQP_FRAME_HEADER;
constexpr uint8_t kBodyFrame = AMQP_FRAME_BODY;
constexpr uint8_t kHeartbeatFrame = AMQP_FRAME_HEARTBEAT;
constexpr size_t kFrameHeaderBytes = 7;
constexpr size_t kFrameOverheadBytes = 8;  // Header and frame-end.

struct Frame {
  uint8_t type = 0;
  uint16_t channel = 0;
  std::string_view payload;
  size_t bytes = 0;  // Of the whole frame.
};

// The frame that `bytes` begin with; `bytes` of it 0 when it is not all there yet. Throws
// ConnectionError (501) when it is longer than `frame_max`, of an unknown type, or not ended by
// frame-end.
Frame parse_frame(std::string_view bytes, uint32_t frame_max);

// Appends method frames to `out`: begin, the arguments by writer(), end.
class MethodWriter {
 public:
  // `method` is its class and method number, such as AMQP_BASIC_DELIVER_METHOD.
  MethodWriter(std::string& out, uint16_t channel, uint32_t method) : writer_(out) {
    writer_.octet(kMethodFrame).u16(channel).u32(0).u32(method);
    payload_at_ = out.size() - 4;
  }
  MethodWriter(const MethodWriter&) = delete;
  MethodWriter& operator=(const MethodWriter&) = delete;
  ~MethodWriter() {
    auto& out = writer_.out();
    patch_u32(out, payload_at_ - 4, static_cast<uint32_t>(out.size() - payload_at_));
    writer_.octet(AMQP_FRAME_END);
  }
  WireWriter& operator*() { return writer_; }
  WireWriter* operator->() { return &writer_; }

 private:
  WireWriter writer_;
  size_t payload_at_ = 0;
};

// Appends a content header (class basic) and the body, in frames of up to `frame_max` bytes.
// `properties` are the property flags and list.
void write_content(std::string& out, uint16_t channel, uint32_t frame_max,
                   std::string_view properties, std::string_view body);

void write_heartbeat(std::string& out);

}  // namespace postoffice::embedded
