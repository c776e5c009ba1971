#include "broker/embedded/log_crc.h"

#include <boost/crc.hpp>
#include <cstring>

namespace postoffice::embedded {
namespace {

uint32_t reversed_bits(uint32_t value) {
  uint32_t reversed = 0;
  for (int bit = 0; bit < 32; ++bit, value >>= 1) reversed = reversed << 1 | (value & 1);
  return reversed;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(std::string_view bytes, uint32_t crc) {
  uint64_t state = ~crc;
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t eight = 0;
    memcpy(&eight, at, 8);
    state = __builtin_ia32_crc32di(state, eight);
  }
  auto rest = static_cast<uint32_t>(state);
  for (; left > 0; ++at, --left) rest = __builtin_ia32_crc32qi(rest, static_cast<uint8_t>(*at));
  return ~rest;
}
#endif

}  // namespace

uint32_t crc32c_portable(std::string_view bytes, uint32_t crc) {
  boost::crc_optimal<32, 0x1EDC6F41, 0, 0, true, true> state(reversed_bits(~crc));
  state.process_bytes(bytes.data(), bytes.size());
  return ~state.checksum();
}

uint32_t crc32c(std::string_view bytes, uint32_t crc) {
#ifdef __x86_64__
  static const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;
  if (kHasInstruction) return crc32c_sse42(bytes, crc);
#endif
  return crc32c_portable(bytes, crc);
}

}  // namespace postoffice::embedded
