#pragma once

#include <string>
#include <string_view>

namespace postoffice {

// `text` as a JSON string, quotes included (RFC 8259 section 7). Bytes that are not UTF-8 become
// U+FFFD, so the result is always valid.
std::string json_quote(std::string_view text);

}  // namespace postoffice
