#pragma once

#include <httplib.h>

#include <string>
#include <string_view>
#include <utility>

namespace postoffice {

// One whole request in memory, as cpp-httplib reads it, and the answer that it writes. Touches no
// socket, so no client can hold up the thread that uses it. Not thread-safe.
class HttpStream final : public httplib::Stream {
 public:
  // `request` and `remote_ip` outlive the stream.
  HttpStream(std::string_view request, const std::string& remote_ip, int remote_port)
      : unread_(request), remote_ip_(remote_ip), remote_port_(remote_port) {}

  // Zero at the end of the request.
  ssize_t read(char* target, size_t size) override;
  ssize_t write(const char* bytes, size_t size) override;
  std::string take_answer() { return std::move(answer_); }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  std::string_view unread_;
  const std::string& remote_ip_;
  const int remote_port_;
  std::string answer_;
};

}  // namespace postoffice
