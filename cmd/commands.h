#pragma once

#include <string>
#include <vector>

#include "base/signals.h"
#include "cmd/config.h"

namespace postoffice {

// The three subcommands. Each runs to its end and returns the exit status: 0 in order, 1 when it
// failed. Throw BadConfig for what only turns out while starting, e.g. a port in use.
int run_serve(const Config& config, Signals& signals);
int run_worker(const Config& config, size_t fetch_threads, Signals& signals);
int run_migrate(const Config& config, bool status_only);

// Parses the whole command line and runs it. `arguments` without the program's name. Exit status 2
// with one line a mistake on stderr when it is wrong.
int run_command_line(const std::vector<std::string>& arguments);

}  // namespace postoffice
