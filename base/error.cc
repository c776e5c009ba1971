#include "base/error.h"

#include <utility>

namespace postoffice {
namespace {

std::string join_lines(const std::vector<std::string>& lines) {
  std::string joined;
  for (const auto& line : lines) {
    if (!joined.empty()) joined += '\n';
    joined += line;
  }
  return joined;
}

}  // namespace

BadConfig::BadConfig(std::vector<std::string> mistakes)
    : std::runtime_error(join_lines(mistakes)), mistakes_(std::move(mistakes)) {}

}  // namespace postoffice
