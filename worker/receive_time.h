#pragma once

#include <optional>
#include <string_view>

#include "base/time.h"

namespace postoffice {

// The earliest `received_at` of the callbacks in a message body (broker/callback_message.h),
// without decoding it. Lines that do not start as encode_callback_line() writes them, and retries,
// whose rows were seen to when they failed, are passed over.
std::optional<UnixTime> oldest_callback_in(std::string_view body);

}  // namespace postoffice
