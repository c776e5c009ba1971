#include "broker/embedded/log_writer.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <system_error>
#include <utility>

#include "broker/embedded/log_format.h"

namespace postoffice::embedded {
namespace {

constexpr std::chrono::milliseconds kRetry{500};
// After what is written last: where the log ends, even in a file that was used before.
constexpr char kEnd[kRecordHeaderBytes] = {};

// Errors that pass when somebody makes room.
bool is_lack_of_room(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG || error == EMFILE ||
         error == ENFILE || error == ENOMEM;
}

std::vector<iovec> to_iovecs(const std::vector<LogSpan>& spans) {
  std::vector<iovec> parts;
  parts.reserve(spans.size() + 1);
  for (const auto& span : spans) {
    parts.push_back({const_cast<char*>(span.bytes.data()), span.bytes.size()});
  }
  parts.push_back({const_cast<char*>(kEnd), sizeof(kEnd)});
  return parts;
}

}  // namespace

LogWriter::LogWriter(LogFolder folder, const Log::Options& options, Log::Events events)
    : options_(options), events_(std::move(events)), folder_(std::move(folder)) {}

LogWriter::~LogWriter() { stop(); }

void LogWriter::start() {
  thread_ = Thread("log-writer", [this] { run(); });
}

void LogWriter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_one();
  thread_.join();
}

void LogWriter::hand_over(const std::vector<LogSpan>& spans) {
  if (spans.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& span : spans) {
      LogSpan* const last = handed_.empty() ? nullptr : &handed_.back();
      if (last != nullptr && last->position.segment == span.position.segment &&
          last->bytes.data() + last->bytes.size() == span.bytes.data()) {
        last->bytes = {last->bytes.data(), last->bytes.size() + span.bytes.size()};
        last->sequence = span.sequence;
      } else {
        handed_.push_back(span);
      }
    }
  }
  ready_.notify_one();
}

void LogWriter::drop_before(uint32_t segment) {
  {
    const std::lock_guard lock(mutex_);
    drop_before_ = std::max(drop_before_, segment);
    asked_ = true;
  }
  ready_.notify_one();
}

void LogWriter::run() {
  sigset_t over_limit;  // What is beyond RLIMIT_FSIZE is to be EFBIG.
  sigemptyset(&over_limit);
  sigaddset(&over_limit, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &over_limit, nullptr);
  try {
    work();
    close_segment();
  } catch (const std::exception& error) {
    set_state(Log::State::kFailed, error.what());
  }
  file_.close();
}

// Ends when it was asked to and all is written, or there is no room for it.
void LogWriter::work() {
  while (true) {
    uint32_t before = 0;
    bool last_try = false;
    {
      std::unique_lock lock(mutex_);
      const auto asked = [this] { return stopping_ || asked_; };
      if (state_ == Log::State::kFull) {
        ready_.wait_until(lock, retry_at_, asked);
      } else {
        ready_.wait(lock, [&] {
          return asked() || !handed_.empty() || !held_.empty() || droppable(drop_before_) != 0;
        });
      }
      held_.insert(held_.end(), handed_.begin(), handed_.end());
      handed_.clear();
      before = drop_before_;
      asked_ = false;
      last_try = stopping_;
    }
    if (last_try && held_.empty() && droppable(before) == 0) return;
    try {
      drop(before);
      if (held_.empty()) {
        set_state(Log::State::kWritable, "");
      } else {
        write_some();
      }
    } catch (const std::system_error& error) {
      if (!is_lack_of_room(error.code().value())) throw;
      retry_at_ = std::chrono::steady_clock::now() + kRetry;
      set_state(Log::State::kFull, error.what());
      if (last_try) return;
    }
  }
}

// The next one to drop, or 0.
uint32_t LogWriter::droppable(uint32_t before) const {
  const auto& segments = folder_.segments();
  if (segments.empty() || *segments.begin() >= before || *segments.begin() == segment_) return 0;
  return *segments.begin();
}

// One, so that what was appended meanwhile does not wait for many; all, when that has to wait for
// room anyway.
void LogWriter::drop(uint32_t before) {
  for (uint32_t segment = droppable(before); segment != 0; segment = droppable(before)) {
    folder_.drop(segment);
    if (state_ != Log::State::kFull) return;
  }
}

// What is held of one segment. The next one waits until this one is complete on disk, so that
// only the last can be torn.
void LogWriter::write_some() {
  const uint32_t segment = held_.front().position.segment;
  auto end = std::find_if(held_.begin(), held_.end(), [segment](const LogSpan& span) {
    return span.position.segment != segment;
  });
  if (end - held_.begin() >= IOV_MAX) end = held_.begin() + IOV_MAX - 1;
  const std::vector<LogSpan> spans(held_.begin(), end);

  if (segment != segment_) open_segment(segment);
  write(spans);
  sync();

  uint64_t bytes = 0;
  for (const auto& span : spans) bytes += span.bytes.size();
  end_ = spans.back().position.offset + spans.back().bytes.size();
  held_.erase(held_.begin(), end);
  durable_bytes_.fetch_add(bytes, std::memory_order_release);
  durable_.store(spans.back().sequence, std::memory_order_release);
  set_state(Log::State::kWritable, "");
  if (events_.durable) events_.durable(spans.back().sequence);
}

void LogWriter::open_segment(uint32_t segment) {
  close_segment();
  uint64_t bytes = options_.segment_bytes;
  for (const auto& span : held_) {
    if (span.position.segment == segment) {
      bytes = std::max<uint64_t>(bytes, span.position.offset + span.bytes.size());
    }
  }
  file_ = folder_.create(segment, bytes);
  segment_ = segment;
  end_ = 0;
  name_synced_ = false;
}

void LogWriter::close_segment() {
  if (segment_ == 0) return;
  folder_.truncate(segment_, end_);
  file_.close();
  segment_ = 0;
}

void LogWriter::write(const std::vector<LogSpan>& spans) {
  auto parts = to_iovecs(spans);
  auto offset = static_cast<off_t>(spans.front().position.offset);
  for (size_t first = 0; first < parts.size();) {
    const ssize_t written = options_.disk.pwritev(file_.get(), &parts[first],
                                                  static_cast<int>(parts.size() - first), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      throw std::system_error(errno, std::generic_category(),
                              "write " + folder_.path(segment_).string());
    }
    offset += written;
    for (auto left = static_cast<size_t>(written); first < parts.size();) {
      const size_t done = std::min(left, parts[first].iov_len);
      parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + done;
      parts[first].iov_len -= done;
      left -= done;
      if (parts[first].iov_len > 0) break;
      ++first;
    }
  }
}

void LogWriter::sync() {
  if (options_.disk.fdatasync(file_.get()) != 0) {
    throw SyncFailed(folder_.path(segment_).string(), errno);
  }
  if (!name_synced_) folder_.sync();
  name_synced_ = true;
}

void LogWriter::set_state(Log::State state, const std::string& why) {
  if (state_ == state) return;
  state_ = state;
  if (events_.state) events_.state(state, why);
}

}  // namespace postoffice::embedded
