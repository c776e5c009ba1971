#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"

namespace postoffice {

// Reads what the object service answers. Reuses its buffers, unless an answer was unusually large:
// one a thread. Not thread-safe.
class ObjectAnswer {
 public:
  ObjectAnswer();
  ~ObjectAnswer();

  // `body` is {"id":<id>,"online":<boolean>}; other members are ignored. Nothing when it is not, or
  // when the id is not the one asked for; `why` then says what is wrong. `body` may be given
  // capacity.
  std::optional<bool> read_online(std::string& body, int64_t id, std::string& why);

 private:
  struct Parser;
  std::optional<bool> parse_online(std::string& body, int64_t id, std::string& why);

  std::unique_ptr<Parser> parser_;
};

// The delay that a Retry-After header asks for at `now`: seconds or an HTTP date in one of its
// three forms (RFC 9110, sections 10.2.3 and 5.6.7). At most a day; nothing when it is neither.
std::optional<Millis> parse_retry_after(const std::string& value, UnixTime now);

}  // namespace postoffice
