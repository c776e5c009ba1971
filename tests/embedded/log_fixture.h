#pragma once

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "broker/embedded/log.h"
#include "tests/broker/temp_folder.h"

namespace postoffice::embedded {

// What is logged as long as it lives.
class LogLines {
 public:
  LogLines() : before_(spdlog::default_logger()) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "", std::make_shared<spdlog::sinks::ostream_sink_mt>(text_)));
  }
  ~LogLines() { spdlog::set_default_logger(before_); }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;

  std::string take() {
    std::string text = text_.str();
    text_.str("");
    return text;
  }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

// What the log's thread said.
class LogReports {
 public:
  Log::Events events() {
    return {.durable =
                [this](uint64_t sequence) {
                  const std::lock_guard lock(mutex_);
                  durable_ = sequence;
                  changed_.notify_all();
                },
            .state =
                [this](Log::State state, const std::string& why) {
                  const std::lock_guard lock(mutex_);
                  states_.emplace_back(state, why);
                  changed_.notify_all();
                }};
  }

  uint64_t durable() const {
    const std::lock_guard lock(mutex_);
    return durable_;
  }
  std::vector<std::pair<Log::State, std::string>> states() const {
    const std::lock_guard lock(mutex_);
    return states_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    durable_ = 0;
    states_.clear();
  }
  bool wait_durable(uint64_t sequence) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline, [&] { return durable_ >= sequence; });
  }
  // Or there were more than so many changes of state.
  bool wait_durable_or_state(uint64_t sequence, size_t states) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline,
                             [&] { return durable_ >= sequence || states_.size() > states; });
  }
  // As the last one.
  bool wait_state(Log::State state) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline,
                             [&] { return !states_.empty() && states_.back().first == state; });
  }

 private:
  static constexpr std::chrono::seconds kDeadline{20};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t durable_ = 0;
  std::vector<std::pair<Log::State, std::string>> states_;
};

inline std::vector<std::pair<LogPosition, std::string>> recover_all(Log& log) {
  std::vector<std::pair<LogPosition, std::string>> found;
  log.recover(
      [&](LogPosition position, std::string_view record) { found.emplace_back(position, record); });
  return found;
}

// A folder in memory where there is one: for tests that open hundreds of logs.
class MemoryFolder {
 public:
  MemoryFolder() {
    if (mkdtemp(shared_.data()) != nullptr) return;
    shared_.clear();
    disk_.emplace();
  }
  ~MemoryFolder() {
    std::error_code ignored;
    if (!shared_.empty()) std::filesystem::remove_all(shared_, ignored);
  }
  MemoryFolder(const MemoryFolder&) = delete;
  MemoryFolder& operator=(const MemoryFolder&) = delete;

  const std::string& path() const { return disk_ ? disk_->path() : shared_; }

 private:
  std::optional<TempFolder> disk_;
  std::string shared_ = "/dev/shm/postoffice-XXXXXX";
};

// The records of the log in that folder.
inline std::vector<std::string> records_in(const std::string& folder) {
  Log log({.folder = folder}, {});
  std::vector<std::string> records;
  for (auto& [position, record] : recover_all(log)) records.push_back(std::move(record));
  return records;
}

inline std::string read_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_bytes(const std::filesystem::path& file, std::string_view bytes) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::set<std::string> files_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename());
  }
  return names;
}

class LogFixture : public testing::Test {
 protected:
  std::unique_ptr<Log> open(uint32_t segment_bytes = 1 << 20, LogDisk disk = {}) {
    return std::make_unique<Log>(
        Log::Options{.folder = path(), .segment_bytes = segment_bytes, .disk = std::move(disk)},
        reports_.events());
  }
  std::unique_ptr<Log> start(uint32_t segment_bytes = 1 << 20, LogDisk disk = {}) {
    auto log = open(segment_bytes, std::move(disk));
    log->recover([](LogPosition, std::string_view) {});
    log->start();
    return log;
  }
  std::string path() const { return folder_.path() + "/log"; }
  std::filesystem::path file(uint32_t segment) const {
    char name[32];
    snprintf(name, sizeof(name), "%010u.log", segment);
    return path() + "/" + name;
  }

  const TempFolder folder_;
  LogReports reports_;
};

}  // namespace postoffice::embedded
