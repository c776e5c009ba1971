#include "tester/sent_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "tester/id_list.h"

namespace postoffice::tester {
namespace {

[[noreturn]] void refuse(const std::string& path) {
  const std::string why = std::generic_category().message(errno);
  throw BadConfig({"SENT_LOG must be a file that can be written, not \"" + path + "\": " + why});
}

}  // namespace

SentLog::SentLog(const std::string& path)
    : file_(open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (file_.get() < 0) refuse(path);
  remove_cut_line(path);
}

void SentLog::remove_cut_line(const std::string& path) {
  off_t size = lseek(file_.get(), 0, SEEK_END);
  const off_t whole = size;
  char last = '\n';
  while (size > 0 && pread(file_.get(), &last, 1, size - 1) == 1 && last != '\n') --size;
  if (size < whole && ftruncate(file_.get(), size) != 0) refuse(path);
}

void SentLog::append(UnixTime sent_at, int status, std::chrono::microseconds latency,
                     const std::vector<int64_t>& ids) {
  std::string line = std::to_string(to_unix_millis(sent_at)) + ' ' + std::to_string(status) + ' ' +
                     std::to_string(latency.count()) + ' ';
  append_ids(line, ids);
  line += '\n';
  const std::lock_guard lock(mutex_);
  if (!complete_) return;  // The file may end in half a line.
  const ssize_t written = write(file_.get(), line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size())) return;
  complete_ = false;
  spdlog::error("SENT_LOG ends here, incomplete: {}",
                written < 0 ? std::generic_category().message(errno) : "no room for a line");
}

bool SentLog::complete() const {
  const std::lock_guard lock(mutex_);
  return complete_;
}

}  // namespace postoffice::tester
