#pragma once

#include <string>
#include <vector>

namespace postoffice::bench {

double median(std::vector<double> values);
// The value that `percent` of them do not exceed; 0 of none.
double percentile(std::vector<double> values, double percent);

// "1,234,567", "12.3" or "0.45": three digits at least count.
std::string number(double value);

// The rows, aligned: the first column to the left, the others to the right. The first row is the
// heading.
std::string aligned(const std::vector<std::vector<std::string>>& rows);

}  // namespace postoffice::bench
