#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace postoffice::tester {

// Reads an id as Go's strconv.Atoi does on a 64-bit machine, because that is what the object
// service has always done: an optional sign, then decimal digits, leading zeros allowed, within
// int64. Nothing for everything else: "", "7x", "0x7", "1_000", " 7", "9223372036854775808".
std::optional<int64_t> parse_object_id(std::string_view text);

}  // namespace postoffice::tester
