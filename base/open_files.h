#pragma once

#include <sys/resource.h>

namespace postoffice {

// Raises the limit of open files as far as the system lets us: each connection is one. Returns it.
rlim_t raise_open_files();

}  // namespace postoffice
