#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <string>
#include <unordered_map>

namespace postoffice {

// Connections of each address: an IPv4 address or, since whoever has one IPv6 address has 2^64 of
// them, the first 64 bits of an IPv6 address. Not thread-safe.
class AddressCounts {
 public:
  using Key = std::string;

  static Key key_of(const sockaddr_storage& address);
  size_t of(const Key& key) const;
  void add(const Key& key) { ++counts_[key]; }
  void remove(const Key& key);

 private:
  std::unordered_map<Key, size_t> counts_;
};

}  // namespace postoffice
