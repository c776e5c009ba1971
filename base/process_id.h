#pragma once

#include <string>

namespace postoffice {

// A name for one run of this process, unique among all hosts: <host>-<pid>-<random>, e.g.
// "mail3-4711-9f86d081884c7d65". Each call gives a new one.
std::string make_process_id();

// The name kept in the file at `path`; makes one at first. For a process that owns a folder and
// comes back to what it left there. Throws BadConfig naming the file when it cannot be had.
std::string kept_process_id(const std::string& path);

}  // namespace postoffice
