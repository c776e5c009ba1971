#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "broker/embedded/log.h"
#include "broker/embedded/log_format.h"

namespace postoffice::embedded {

// Reads whole segments after a restart.
class LogRecovery {
 public:
  explicit LogRecovery(const Log::Recovered& recovered) : recovered_(recovered) {}

  struct End {
    uint32_t offset = 0;   // Of what follows the last intact record.
    uint64_t rest = 0;     // How many bytes follow.
    bool written = false;  // They begin with what was, or may have been, a record.
  };
  // Passes on every intact record; logs what is damaged between them. Throws Transient.
  End read(const std::filesystem::path& file, uint32_t segment, LogSalt salt);

 private:
  std::string_view load(const std::filesystem::path& file);

  const Log::Recovered& recovered_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
};

}  // namespace postoffice::embedded
