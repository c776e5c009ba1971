// Whatever is sent to POST /callback, whole or in two pieces, the direct way answers as routing
// does: status and body of every answer.

#include <spdlog/spdlog.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/server/callback_servers.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using postoffice::CallbackServers;
  static const CallbackServers* const kServers = [] {
    spdlog::set_level(spdlog::level::off);
    return new CallbackServers();
  }();
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto expected = kServers->answers(/*direct=*/false, bytes);
  for (const size_t split : {size_t{0}, size_t{data[0]} * size / 256}) {
    const auto answers = kServers->answers(/*direct=*/true, bytes, split);
    if (answers == expected) continue;
    for (const auto& answer : expected) fprintf(stderr, "routed: %s\n", answer.c_str());
    for (const auto& answer : answers) fprintf(stderr, "direct: %s\n", answer.c_str());
    std::abort();
  }
  return 0;
}
