#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/file_descriptor.h"

namespace postoffice::bench {

// Connections to a server on loopback that were each used once, for GET /healthz, and stay open as
// long as this does. Throws std::runtime_error when one is refused or not answered within 10 s.
class IdleConnections {
 public:
  IdleConnections(uint16_t port, size_t count);

 private:
  std::vector<FileDescriptor> sockets_;
};

}  // namespace postoffice::bench
