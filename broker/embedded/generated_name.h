#pragma once

#include <string>

namespace postoffice::embedded {

// 22 characters that nobody can guess, for names that the broker gives.
std::string generated_name();

}  // namespace postoffice::embedded
