#include "broker/embedded/frame.h"

#include <algorithm>

namespace postoffice::embedded {

Frame parse_frame(std::string_view bytes, uint32_t frame_max) {
  Frame frame;
  if (bytes.size() < kFrameHeaderBytes) return frame;
  WireReader header(bytes.substr(0, kFrameHeaderBytes));
  frame.type = header.octet();
  frame.channel = header.u16();
  const size_t size = header.u32();
  if (frame.type != kMethodFrame && frame.type != kHeaderFrame && frame.type != kBodyFrame &&
      frame.type != kHeartbeatFrame) {
    throw ConnectionError(ReplyCode::kFrameError,
                          "unknown frame type " + std::to_string(frame.type));
  }
  if (size + kFrameOverheadBytes > frame_max) {
    throw ConnectionError(ReplyCode::kFrameError,
                          "a frame of " + std::to_string(size + kFrameOverheadBytes) +
                              " bytes is over the negotiated frame-max of " +
                              std::to_string(frame_max));
  }
  if (bytes.size() < size + kFrameOverheadBytes) return frame;
  if (static_cast<uint8_t>(bytes[kFrameHeaderBytes + size]) != AMQP_FRAME_END) {
    throw ConnectionError(ReplyCode::kFrameError, "a frame does not end with frame-end");
  }
  frame.payload = bytes.substr(kFrameHeaderBytes, size);
  frame.bytes = size + kFrameOverheadBytes;
  return frame;
}

void write_content(std::string& out, uint16_t channel, uint32_t frame_max,
                   std::string_view properties, std::string_view body) {
  WireWriter writer(out);
  writer.octet(kHeaderFrame).u16(channel).u32(static_cast<uint32_t>(12 + properties.size()));
  writer.u16(AMQP_BASIC_CLASS).u16(0).u64(body.size()).bytes(properties).octet(AMQP_FRAME_END);
  const size_t most = frame_max - kFrameOverheadBytes;
  while (!body.empty()) {
    const auto part = body.substr(0, most);
    writer.octet(kBodyFrame).u16(channel).u32(static_cast<uint32_t>(part.size()));
    writer.bytes(part).octet(AMQP_FRAME_END);
    body.remove_prefix(part.size());
  }
}

void write_heartbeat(std::string& out) {
  WireWriter(out).octet(kHeartbeatFrame).u16(0).u32(0).octet(AMQP_FRAME_END);
}

}  // namespace postoffice::embedded
