#include "base/address_counts.h"

#include <netinet/in.h>

namespace postoffice {
namespace {

constexpr size_t kPrefixBytes = 8;

AddressCounts::Key bytes_of(const void* bytes, size_t count) {
  return {static_cast<const char*>(bytes), count};
}

}  // namespace

AddressCounts::Key AddressCounts::key_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    return bytes_of(&v4, sizeof v4);
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return bytes_of(&v6.s6_addr[12], 4);
  return bytes_of(&v6, kPrefixBytes);
}

size_t AddressCounts::of(const Key& key) const {
  const auto found = counts_.find(key);
  return found == counts_.end() ? 0 : found->second;
}

void AddressCounts::remove(const Key& key) {
  const auto found = counts_.find(key);
  if (found != counts_.end() && --found->second == 0) counts_.erase(found);
}

}  // namespace postoffice
