#include "tests/embedded/table_maker.h"

#include <algorithm>
#include <utility>

namespace postoffice::embedded {

std::string TableMaker::text(size_t most) {
  const size_t longest = below(8) == 0 ? most : std::min<size_t>(most, 12);
  std::string text(below(longest + 1), '\0');
  for (char& byte : text) byte = static_cast<char>(below(256));
  return text;
}

FieldTable TableMaker::table(int depth) {
  FieldTable table;
  for (uint64_t left = below(depth > 0 ? 6 : 12); left > 0; --left) {
    table.append(text(255), value(kTypes[below(kTypes.size())], depth));
  }
  return table;
}

FieldValue TableMaker::value(char type, int depth) {
  constexpr int kDeep = 6;
  FieldValue value{type, {}};
  switch (type) {
    case 't':
      value.value = static_cast<int64_t>(below(2));
      break;
    case 'b':
      value.value = int64_t{static_cast<int8_t>(integer())};
      break;
    case 'B':
      value.value = int64_t{static_cast<uint8_t>(integer())};
      break;
    case 's':
      value.value = int64_t{static_cast<int16_t>(integer())};
      break;
    case 'u':
      value.value = int64_t{static_cast<uint16_t>(integer())};
      break;
    case 'I':
      value.value = int64_t{static_cast<int32_t>(integer())};
      break;
    case 'i':
      value.value = int64_t{static_cast<uint32_t>(integer())};
      break;
    case 'l':
    case 'L':
    case 'T':
      value.value = integer();
      break;
    case 'f':
      value.value = double{real<float>()};
      break;
    case 'd':
      value.value = real<double>();
      break;
    case 'D':
      value.value = std::string("\x02") + std::string(4, static_cast<char>(below(256)));
      break;
    case 'S':
    case 'x':
      value.value = text(5'000);
      break;
    case 'A': {
      FieldArray items;
      for (uint64_t left = depth < kDeep ? below(5) : 0; left > 0; --left) {
        items.push_back(this->value(kTypes[below(kTypes.size())], depth + 1));
      }
      value.value = std::move(items);
      break;
    }
    case 'F':
      value.value = depth < kDeep ? table(depth + 1) : FieldTable();
      break;
    default:
      break;
  }
  return value;
}

int64_t TableMaker::integer() {
  constexpr int64_t kEnds[] = {0, 1, -1, std::numeric_limits<int64_t>::max(),
                               std::numeric_limits<int64_t>::min()};
  if (below(3) == 0) return kEnds[below(std::size(kEnds))];
  return static_cast<int64_t>(random_());
}

}  // namespace postoffice::embedded
