#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace postoffice::bench {

// A child process whose output goes to a file. Killed when the object goes, or this process does.
class Process {
 public:
  // Runs `arguments` in `folder` with this environment and no other.
  Process(const std::vector<std::string>& arguments,
          const std::map<std::string, std::string>& environment, const std::string& folder,
          const std::string& output_file);
  ~Process() { kill(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // SIGKILL; returns when it is gone.
  void kill();
  // Returns its exit status, or 128 + signal.
  int wait();

 private:
  pid_t pid_ = -1;
};

// 0 when it is gone. Programs and libraries are files: the second leaves them out.
uint64_t resident_bytes(pid_t process);
uint64_t resident_anonymous_bytes(pid_t process);
std::chrono::microseconds cpu_time(pid_t process);
// Of each of its threads, by thread id, in steps of 10 ms.
std::map<pid_t, std::chrono::microseconds> thread_times(pid_t process);
// The process and all that come from it.
std::vector<pid_t> family_of(pid_t process);

}  // namespace postoffice::bench
