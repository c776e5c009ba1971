#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace postoffice {

// Reads the body of POST /callback: a JSON object (RFC 8259) whose member `object_ids` is an array
// of 64-bit integers. Other members are ignored; everything else that is not as said is refused.
// Reuses its buffers: keep one a thread. Not thread-safe.
class CallbackRequestParser {
 public:
  struct Refusal {
    int status = 400;    // 400 malformed, 413 too many ids.
    std::string detail;  // What is wrong and where: `object_ids[3] must be a 64-bit integer`.
  };

  // Sets `ids`, in the order given, duplicates included; or says why not.
  std::optional<Refusal> parse(std::string_view body, size_t max_ids, std::vector<int64_t>& ids);

 private:
  simdjson::dom::parser parser_;
};

}  // namespace postoffice
