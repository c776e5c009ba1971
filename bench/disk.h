#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace postoffice::bench {

// Appends 4 KiB and calls fdatasync, `count` times, on a new file in `folder`: what each took, in
// microseconds. Throws std::system_error.
std::vector<double> sync_times(const std::filesystem::path& folder, int count);
// The same `every` so often for some time.
std::vector<double> sync_times_during(const std::filesystem::path& folder,
                                      std::chrono::milliseconds time,
                                      std::chrono::milliseconds every);

// What the files below `folder` take on disk.
uint64_t disk_bytes(const std::filesystem::path& folder);

}  // namespace postoffice::bench
