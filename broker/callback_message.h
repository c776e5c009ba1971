#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace postoffice {

// One message is NDJSON: one line a callback, {"received_at":<unix ms>,"object_ids":[...]}, up to
// kMessageBytes unless one callback alone is larger. A retry is a message of one line with one id
// and two further members,
// {"attempt":<attempts made so far, 1 and up>,"not_before":<unix ms>}. Unknown members are ignored.
struct CallbackLine {
  UnixTime received_at;
  std::vector<int64_t> object_ids;
  int attempt = 0;                     // 0: a callback as it came in.
  std::optional<UnixTime> not_before;  // Of a retry.
};

inline constexpr size_t kMessageBytes = 64 * 1024;

// One line, '\n' included.
std::string encode_callback_line(UnixTime received_at, std::span<const int64_t> object_ids);
// The same, appended to `text`.
void append_callback_line(std::string& text, UnixTime received_at,
                          std::span<const int64_t> object_ids);
std::string encode_retry_line(UnixTime received_at, int64_t object_id, int attempt,
                              UnixTime not_before);

// Decodes the lines of one message. Reuses its buffers: keep one a thread. Not thread-safe.
class CallbackDecoder {
 public:
  CallbackDecoder();
  ~CallbackDecoder();

  struct Result {
    std::vector<CallbackLine> lines;
    struct Bad {
      std::string line;    // As received, without '\n'.
      std::string reason;  // "not JSON: ...", "object_ids[3] is no 64-bit integer", ...
    };
    std::vector<Bad> bad;
  };

  // Every line is either decoded or bad: nothing of `body` is dropped silently. Blank lines count
  // as nothing.
  Result decode(std::string_view body);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace postoffice
