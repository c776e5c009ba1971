#include "bench/report.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "bench/table.h"

namespace postoffice::bench {
namespace {

std::optional<double> ratio_of(const Row& row) {
  const double other = median(row.other);
  if (row.other.empty() || other == 0) return std::nullopt;
  return median(row.ours) / other;
}

std::string goal_of(const Row& row) {
  switch (row.goal.kind) {
    case Goal::Kind::kNone:
      return "";
    case Goal::Kind::kAtLeast:
      return ">= " + number(row.goal.bound);
    case Goal::Kind::kAtMost:
      return "<= " + number(row.goal.bound);
  }
  return "";
}

std::string met(const Row& row) {
  if (row.goal.kind == Goal::Kind::kNone) return "";
  const double value = row.other.empty() ? median(row.ours) : ratio_of(row).value_or(0);
  const bool is_met =
      row.goal.kind == Goal::Kind::kAtLeast ? value >= row.goal.bound : value <= row.goal.bound;
  return is_met ? "yes" : "NO";
}

std::string spread(const std::vector<double>& values) {
  if (values.empty()) return "";
  const auto [least, most] = std::ranges::minmax(values);
  return number(least) + " to " + number(most);
}

std::string with_unit(const std::vector<double>& values, const std::string& unit) {
  return values.empty() ? "" : number(median(values)) + " " + unit;
}

std::string ratio_text(const Row& row) {
  const auto ratio = ratio_of(row);
  return ratio ? number(*ratio) : "";
}

}  // namespace

void Report::add(Row row) {
  fprintf(stderr, "%s: %s", row.name.c_str(), with_unit(row.ours, row.unit).c_str());
  if (!row.other.empty()) {
    fprintf(stderr, ", %s: %s", row.other_name.c_str(), with_unit(row.other, row.unit).c_str());
  }
  fprintf(stderr, "\n");
  rows_.push_back(std::move(row));
}

void Report::print() const {
  std::vector<std::vector<std::string>> table = {{"row", "Postoffice", "compared with", "", "ratio",
                                                  "goal", "met", "a 2xx or a confirm means"}};
  std::vector<std::vector<std::string>> spreads = {
      {"lowest to highest round", "Postoffice", "compared with"}};
  for (const auto& row : rows_) {
    table.push_back({row.name, with_unit(row.ours, row.unit), row.other_name,
                     with_unit(row.other, row.unit), ratio_text(row), goal_of(row), met(row),
                     row.durability});
    if (row.ours.size() > 1) {
      spreads.push_back({row.name, spread(row.ours), spread(row.other)});
    }
  }
  printf("%s\n", aligned(table).c_str());
  if (spreads.size() > 1) printf("%s\n", aligned(spreads).c_str());
  for (const auto& note : notes_) printf("%s\n", note.c_str());
}

std::string Report::csv() const {
  std::string text = "row,unit,ours,other_name,other,ratio,goal,met\n";
  const auto quoted = [](const std::string& cell) { return "\"" + cell + "\""; };
  for (const auto& row : rows_) {
    text += quoted(row.name) + "," + quoted(row.unit) + "," + std::to_string(median(row.ours)) +
            "," + quoted(row.other_name) + "," +
            (row.other.empty() ? "" : std::to_string(median(row.other))) + "," +
            (ratio_of(row) ? std::to_string(*ratio_of(row)) : "") + "," + quoted(goal_of(row)) +
            "," + met(row) + "\n";
  }
  return text;
}

}  // namespace postoffice::bench
