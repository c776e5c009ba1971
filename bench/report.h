#pragma once

#include <string>
#include <vector>

namespace postoffice::bench {

// What a row is to reach. Of a row that is compared with something, its ratio; of another, itself.
struct Goal {
  enum class Kind { kNone, kAtLeast, kAtMost };
  Kind kind = Kind::kNone;
  double bound = 0;

  static Goal at_least(double bound) { return {Kind::kAtLeast, bound}; }
  static Goal at_most(double bound) { return {Kind::kAtMost, bound}; }
};

// One line of the table. Each round gives one value: medians are compared.
struct Row {
  std::string name;          // "ingest, embedded broker, 1,024 connections".
  std::string unit;          // "callbacks/s", "ms".
  std::vector<double> ours;  // In the order of the rounds.
  std::string other_name;    // What was measured in turn with it; empty: nothing.
  std::vector<double> other;
  Goal goal = {};
  std::string durability;  // What a 2xx or a confirm means; empty: nothing is kept.
};

// Collects rows and prints them as tables: medians, ratios and goals; then what the rounds spread
// over. Not thread-safe.
class Report {
 public:
  // Says on stderr what was measured, so that a long run can be watched.
  void add(Row row);
  // A line below the tables.
  void note(std::string text) { notes_.push_back(std::move(text)); }
  void print() const;
  // All rows as CSV with a heading: row,unit,ours,other_name,other,ratio,goal,met.
  std::string csv() const;

 private:
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
};

}  // namespace postoffice::bench
