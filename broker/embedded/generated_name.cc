#include "broker/embedded/generated_name.h"

#include <sys/random.h>

#include <array>
#include <system_error>

namespace postoffice::embedded {

std::string generated_name() {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::array<unsigned char, 22> random{};
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    throw std::system_error(errno, std::generic_category(), "getrandom");
  }
  std::string name;
  for (const unsigned char byte : random) name += kAlphabet[byte & 63];
  return name;
}

}  // namespace postoffice::embedded
