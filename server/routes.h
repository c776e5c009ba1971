#pragma once

#include <httplib.h>

#include <string>

namespace postoffice {

// Answers every method at `pattern` but those in `allowed` (comma-separated, as in the header
// Allow; GET includes HEAD) with 405.
void refuse_other_methods(httplib::Server& routes, const std::string& pattern,
                          const std::string& allowed);

}  // namespace postoffice
