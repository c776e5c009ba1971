#include "tester/id_list.h"

#include <array>
#include <charconv>

namespace postoffice::tester {

void append_ids(std::string& text, const std::vector<int64_t>& ids) {
  std::array<char, 24> digits{};
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i != 0) text += ',';
    const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), ids[i]);
    text.append(digits.data(), end);
  }
}

}  // namespace postoffice::tester
