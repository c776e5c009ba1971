#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/file_descriptor.h"

namespace postoffice::tester {

// A TCP connection to a loopback address that sends and receives bytes as told. Every call ends
// within 20 s; throws std::runtime_error when it cannot do what it is to.
class RawClient {
 public:
  explicit RawClient(uint16_t port, const char* address = "127.0.0.1");

  void send(std::string_view bytes);
  void get(const std::string& path) { send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); }

  struct Answer {
    int status = 0;
    std::string head;
    std::string body;
  };
  // The next answer, which has a Content-Length unless it is to a HEAD request.
  Answer receive(bool head_only = false);
  Answer ask(const std::string& path) {
    get(path);
    return receive();
  }

  enum class End { kClosed, kReset };
  // How the connection ends, after all that is still to be received, which goes to `rest`.
  End receive_end(std::string* rest = nullptr);
  // True if nothing at all can be received for that long.
  bool silent_for(std::chrono::milliseconds time) const;

  int fd() const { return fd_.get(); }

 private:
  bool receive_more();

  FileDescriptor fd_;
  std::string received_;
};

}  // namespace postoffice::tester
