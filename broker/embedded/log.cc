#include "broker/embedded/log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "broker/embedded/log_buffer.h"
#include "broker/embedded/log_folder.h"
#include "broker/embedded/log_format.h"
#include "broker/embedded/log_reader.h"
#include "broker/embedded/log_recovery.h"
#include "broker/embedded/log_writer.h"

namespace postoffice::embedded {
namespace {

constexpr uint32_t kMinSegmentBytes = 256;

struct Segment {
  std::optional<LogSalt> salt;  // None: its header is damaged, nothing of it can be read.
  uint64_t bytes = 0;           // As far as it is used.
};

std::string read_head(const std::filesystem::path& file) {
  const FileDescriptor fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  char head[kSegmentHeaderBytes];
  const ssize_t got = fd.get() < 0 ? -1 : pread(fd.get(), head, sizeof(head), 0);
  if (got < 0) {
    throw Transient("read " + file.string() + ": " + std::generic_category().message(errno));
  }
  return {head, static_cast<size_t>(got)};
}

}  // namespace

LogCorrupt::LogCorrupt(const std::filesystem::path& file, uint64_t offset, const std::string& why)
    : std::runtime_error(file.string() + ": at " + std::to_string(offset) + ": " + why),
      file_(file),
      offset_(offset) {}

struct Log::Parts {
  Parts(const Options& options, Events events)
      : folder(options.folder),
        segment_bytes(std::max(options.segment_bytes, kMinSegmentBytes)),
        writer(LogFolder(options.folder, segment_bytes), options, std::move(events)),
        reader(options.folder) {}

  void find_segments();
  void recover(const Recovered& recovered);
  void cut(uint32_t segment, const LogRecovery::End& end);
  void begin_segment();

  const std::filesystem::path folder;
  const uint32_t segment_bytes;
  std::map<uint32_t, Segment> segments;
  uint32_t current = 1;
  LogSalt salt;  // Of the current segment.
  uint64_t appended = 0;
  uint64_t appended_bytes = 0;
  uint64_t bytes = 0;  // Of all segments.
  bool recovered = false;
  bool started = false;
  LogBuffer buffer;
  LogWriter writer;
  LogReader reader;
};

void Log::Parts::find_segments() {
  const auto numbers = writer.folder().segments();
  for (const uint32_t number : numbers) {
    const auto file = LogFolder::path(folder, number);
    SegmentHeader header;
    try {
      header = read_segment_header(read_head(file), number);
      segments[number] = {header.salt, std::filesystem::file_size(file)};
    } catch (const Permanent& error) {
      throw Permanent(file.string() + ": " + error.what());
    } catch (const std::system_error& error) {
      throw Transient(std::string("log: ") + error.what());
    }
    const bool last = number == *numbers.rbegin();
    if (header.damaged || (!header.salt && !last)) {
      spdlog::warn("log: {}: at 0: the segment's header is damaged{}", file.string(),
                   header.salt ? "" : ": the segment cannot be read");
    }
    bytes += segments[number].bytes;
    current = number + 1;
    if (!header.salt && !header.damaged && last) cut(number, {});  // Nothing was written to it.
  }
}

void Log::Parts::recover(const Recovered& to) {
  if (std::exchange(recovered, true)) return;
  LogRecovery recovery(to);
  const uint32_t last = segments.empty() ? 0 : segments.rbegin()->first;
  for (const auto& [number, segment] : std::map(segments)) {
    if (!segment.salt) continue;
    const auto file = LogFolder::path(folder, number);
    const auto end = recovery.read(file, number, *segment.salt);
    if (number != last) {
      if (end.rest == 0) continue;
      spdlog::warn("log: {}: at {}: {} damaged bytes are skipped", file.string(), end.offset,
                   end.rest);
    } else {
      if (end.written) {
        spdlog::warn("log: {}: at {}: cut, what follows was not completely written", file.string(),
                     end.offset);
      }
      cut(number, end);
    }
  }
}

// Ends the last segment of an earlier run: it is never written to again, so that nothing of what
// is cut can ever stand behind newer records. Without records it is not needed at all.
void Log::Parts::cut(uint32_t segment, const LogRecovery::End& end) {
  try {
    if (end.offset <= kSegmentHeaderBytes) {
      writer.folder().drop(segment);
      bytes -= segments[segment].bytes;
      segments.erase(segment);
    } else if (end.rest > 0) {
      writer.folder().truncate(segment, end.offset);
      bytes -= segments[segment].bytes - end.offset;
      segments[segment].bytes = end.offset;
    }
  } catch (const std::runtime_error& error) {
    throw Transient(std::string("log: ") + error.what());
  }
}

void Log::Parts::begin_segment() {
  if (segments.contains(current)) ++current;
  salt = LogSalt::random();
  segments[current] = {salt, kSegmentHeaderBytes};
  bytes += kSegmentHeaderBytes;
  appended_bytes += kSegmentHeaderBytes;
  write_segment_header(buffer.add({current, 0}, kSegmentHeaderBytes, appended + 1), current, salt);
}

Log::Log(const Options& options, Events events)
    : parts_(std::make_unique<Parts>(options, std::move(events))) {
  parts_->find_segments();
}

Log::~Log() { stop(); }

void Log::recover(const Recovered& recovered) { parts_->recover(recovered); }

void Log::start() {
  parts_->recover([](LogPosition, std::string_view) {});
  if (!std::exchange(parts_->started, true)) parts_->writer.start();
}

void Log::stop() {
  flush();
  parts_->writer.stop();
}

LogPosition Log::append(std::initializer_list<std::string_view> parts) {
  Parts& log = *parts_;
  uint64_t length = 0;
  for (const auto part : parts) length += part.size();
  if (length > kMaxRecordBytes) {
    throw Permanent("a record of " + std::to_string(length) + " bytes is too big for the log");
  }
  const uint64_t bytes = record_bytes(length);

  auto found = log.segments.find(log.current);
  if (found == log.segments.end() || (found->second.bytes > kSegmentHeaderBytes &&
                                      found->second.bytes + bytes > log.segment_bytes)) {
    log.begin_segment();
    found = log.segments.find(log.current);
  }
  const LogPosition position{log.current, static_cast<uint32_t>(found->second.bytes)};
  char* const header = log.buffer.add(position, bytes, log.appended + 1);
  ++log.appended;
  log.appended_bytes += bytes;
  found->second.bytes += bytes;
  log.bytes += bytes;

  char* to = header + kRecordHeaderBytes;
  for (const auto part : parts) to = std::copy(part.begin(), part.end(), to);
  finish_record(header, static_cast<uint32_t>(length), position.offset, log.salt);
  return position;
}

uint64_t Log::appended() const { return parts_->appended; }

void Log::flush() {
  parts_->buffer.release(parts_->writer.durable());
  parts_->writer.hand_over(parts_->buffer.take());
}

size_t Log::unwritten_bytes() const {
  return parts_->appended_bytes - parts_->writer.durable_bytes();
}

std::string Log::read(LogPosition position) {
  const auto corrupt = [&](const char* why) {
    return LogCorrupt(LogFolder::path(parts_->folder, position.segment), position.offset, why);
  };
  const auto found = parts_->segments.find(position.segment);
  if (found == parts_->segments.end()) throw corrupt("there is no such segment");
  const Segment& segment = found->second;
  if (!segment.salt) throw corrupt("the segment's header is damaged");

  if (const auto bytes = parts_->buffer.find(position)) {
    const auto record = intact_record(*bytes, position.offset, *segment.salt);
    if (!record) throw corrupt("no record is there");
    return std::string(*record);
  }
  uint64_t end = segment.bytes;
  const auto held = parts_->buffer.begin();
  if (held && held->segment <= position.segment) {
    end = held->segment == position.segment ? held->offset : 0;
  }
  return parts_->reader.read(position, end, *segment.salt);
}

uint32_t Log::oldest_segment() const {
  return parts_->segments.empty() ? parts_->current : parts_->segments.begin()->first;
}

uint32_t Log::current_segment() const { return parts_->current; }

uint64_t Log::bytes() const { return parts_->bytes; }

void Log::drop_before(uint32_t segment) {
  segment = std::min(segment, parts_->current);
  auto& segments = parts_->segments;
  while (!segments.empty() && segments.begin()->first < segment) {
    parts_->bytes -= segments.begin()->second.bytes;
    segments.erase(segments.begin());
  }
  parts_->reader.forget_before(segment);
  parts_->writer.drop_before(segment);
}

}  // namespace postoffice::embedded
