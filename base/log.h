#pragma once

#include <string>

namespace postoffice {

// Sets up the process's log: one line an event on stderr, UTC, `level` one of debug, info, warn,
// error. spdlog's default logger is the one thing that the whole process shares without passing it
// on.
void set_up_log(const std::string& level);

}  // namespace postoffice
