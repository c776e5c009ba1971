#pragma once

#include <cstdint>
#include <string_view>

namespace postoffice::embedded {

// CRC-32C (Castagnoli; RFC 3720, appendix B.4) of `bytes`, or of all bytes so far when `crc` is
// that of those before. By the SSE4.2 instruction where the CPU has it.
uint32_t crc32c(std::string_view bytes, uint32_t crc = 0);

// The same without the instruction.
uint32_t crc32c_portable(std::string_view bytes, uint32_t crc = 0);

}  // namespace postoffice::embedded
