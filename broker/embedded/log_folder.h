#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>

#include "base/file_descriptor.h"

namespace postoffice::embedded {

// A sync failed: what the disk holds is unknown from now on, and no later sync would tell.
class SyncFailed : public std::runtime_error {
 public:
  SyncFailed(const std::string& what, int error);
};

// The files of a log: a segment is <number, ten digits>.log, and one that was dropped and waits to
// be used again is spare.log. Functions throw std::system_error, or SyncFailed where a sync did not
// work. Used by one thread at a time.
class LogFolder {
 public:
  // Makes the folder when it is missing. Throws Permanent when it cannot be used.
  LogFolder(std::filesystem::path folder, uint32_t segment_bytes);

  std::filesystem::path path(uint32_t segment) const { return path(path_, segment); }
  static std::filesystem::path path(const std::filesystem::path& folder, uint32_t segment);
  const std::set<uint32_t>& segments() const { return segments_; }

  // An empty file with room for `bytes` if the disk has it, else with less. What the file had in
  // it before may still be there. Its name is not durable before sync().
  FileDescriptor create(uint32_t segment, uint64_t bytes);
  // Makes it end there, durably.
  void truncate(uint32_t segment, uint64_t bytes);
  // Durably: after a crash it is not there, unless all that were dropped later are.
  void drop(uint32_t segment);
  // Makes names durable.
  void sync() const;

 private:
  const std::filesystem::path path_;
  const uint32_t segment_bytes_;
  std::filesystem::path spare_;
  bool has_spare_ = false;
  std::set<uint32_t> segments_;
};

}  // namespace postoffice::embedded
