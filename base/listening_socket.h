#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/file_descriptor.h"

namespace postoffice {

// Where to listen, and the names of the settings that say so, for errors.
struct ListenAddress {
  std::string host;   // "localhost": both loopback addresses, whichever the machine has.
  uint16_t port = 0;  // 0: any free one, the same for all addresses.
  std::string host_setting;
  std::string port_setting;
};

// Non-blocking listening sockets (backlog 4096) for every address of the host. Throws BadConfig
// naming the setting, the address and what to do.
std::vector<FileDescriptor> listen_on(const ListenAddress& address);

// The port a socket is bound to.
uint16_t bound_port(const FileDescriptor& socket);

}  // namespace postoffice
