#include "base/process_id.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <system_error>

#include "base/error.h"

namespace postoffice {

std::string make_process_id() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0') host = {"host"};
  std::random_device random;
  const uint64_t tail = (static_cast<uint64_t>(random()) << 32) | random();
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(tail));
  return std::string(host.data()) + "-" + std::to_string(getpid()) + "-" + digits.data();
}

std::string kept_process_id(const std::string& path) {
  std::string id;
  if (std::ifstream file(path); std::getline(file, id) && !id.empty()) return id;
  id = make_process_id();
  // Renamed into place, so that a crash leaves no half of it.
  const std::string written = path + ".new";
  std::ofstream file(written, std::ios::trunc);
  file << id << std::endl;
  file.close();
  if (!file || std::rename(written.c_str(), path.c_str()) != 0) {
    throw BadConfig({path + " cannot be written: " + std::generic_category().message(errno)});
  }
  return id;
}

}  // namespace postoffice
