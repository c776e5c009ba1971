#include "bench/table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>

namespace postoffice::bench {

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  const auto rank =
      static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  const auto at = values.begin() + static_cast<ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double median(std::vector<double> values) { return percentile(std::move(values), 50); }

std::string number(double value) {
  char text[64];
  if (value < 99.95) {
    snprintf(text, sizeof(text), value < 9.995 ? "%.2f" : "%.1f", value);
    return text;
  }
  snprintf(text, sizeof(text), "%.0f", value);
  std::string digits = text;
  for (auto at = static_cast<ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 2);  // "-:" of an empty column.
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto line = [&widths](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = i < cells.size() ? cells[i] : "";
      const std::string room(widths[i] - cell.size(), ' ');
      text += i == 0 ? " " + cell + room + " |" : " " + room + cell + " |";
    }
    return text + "\n";
  };
  std::string text;
  for (size_t row = 0; row < rows.size(); ++row) {
    text += line(rows[row]);
    if (row > 0) continue;
    text += "|";
    for (size_t i = 0; i < widths.size(); ++i) {
      text += i == 0 ? " " + std::string(widths[i], '-') + " |"
                     : " " + std::string(widths[i] - 1, '-') + ": |";
    }
    text += "\n";
  }
  return text;
}

}  // namespace postoffice::bench
