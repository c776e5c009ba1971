#include "base/http_stream.h"

#include <algorithm>
#include <cstring>

namespace postoffice {

ssize_t HttpStream::read(char* target, size_t size) {
  const size_t count = std::min(size, unread_.size());
  std::memcpy(target, unread_.data(), count);
  unread_.remove_prefix(count);
  return static_cast<ssize_t>(count);
}

ssize_t HttpStream::write(const char* bytes, size_t size) {
  answer_.append(bytes, size);
  return static_cast<ssize_t>(size);
}

void HttpStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip = remote_ip_;
  port = remote_port_;
}

// Nobody asks.
void HttpStream::get_local_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

}  // namespace postoffice
