#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/thread.h"
#include "broker/embedded/log.h"
#include "broker/embedded/log_buffer.h"
#include "broker/embedded/log_folder.h"

namespace postoffice::embedded {

// The log's thread: writes and syncs what it was handed, all that has come at a time, and drops
// segments. Its public functions are called by one other thread.
class LogWriter {
 public:
  LogWriter(LogFolder folder, const Log::Options& options, Log::Events events);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Before start().
  LogFolder& folder() { return folder_; }

  void start();
  // What was handed over is written first, as far as there is room. Idempotent.
  void stop();

  // A span that begins at offset 0 begins a new segment. The bytes must stay until durable() has
  // reached the span's sequence.
  void hand_over(const std::vector<LogSpan>& spans);
  void drop_before(uint32_t segment);

  uint64_t durable() const { return durable_.load(std::memory_order_acquire); }
  uint64_t durable_bytes() const { return durable_bytes_.load(std::memory_order_acquire); }

 private:
  void run();
  void work();
  uint32_t droppable(uint32_t before) const;
  void drop(uint32_t before);
  void write_some();
  void open_segment(uint32_t segment);
  void close_segment();
  void write(const std::vector<LogSpan>& spans);
  void sync();
  void set_state(Log::State state, const std::string& why);

  const Log::Options options_;
  const Log::Events events_;

  std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<LogSpan> handed_;  // Guarded by mutex_, as the next three.
  bool stopping_ = false;
  uint32_t drop_before_ = 0;
  bool asked_ = false;  // For a drop, and the thread has not tried yet.

  std::atomic<uint64_t> durable_ = 0;
  std::atomic<uint64_t> durable_bytes_ = 0;

  // The thread's own.
  LogFolder folder_;
  std::vector<LogSpan> held_;
  Log::State state_ = Log::State::kWritable;
  std::chrono::steady_clock::time_point retry_at_;
  uint32_t segment_ = 0;  // The open one; 0: none.
  FileDescriptor file_;
  uint64_t end_ = 0;         // Of what is durable in it.
  bool name_synced_ = true;  // The file's name is.

  Thread thread_;
};

}  // namespace postoffice::embedded
