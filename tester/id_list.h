#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace postoffice::tester {

// Appends "7,8,-9".
void append_ids(std::string& text, const std::vector<int64_t>& ids);

}  // namespace postoffice::tester
