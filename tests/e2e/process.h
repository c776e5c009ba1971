#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace postoffice::e2e {

using Seconds = std::chrono::duration<double>;

// A child process whose output goes to a file. Killed when the object goes. Not thread-safe.
class Process {
 public:
  using Environment = std::map<std::string, std::string>;

  // Starts `arguments[0]`, an absolute path, with this process's environment less Postoffice's own
  // settings, plus `environment`. Runs in `folder`, so that no .env is found by accident.
  Process(std::vector<std::string> arguments, const Environment& environment,
          const std::string& folder, const std::string& name);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  void signal(int number) const;
  // SIGSTOP; it has stopped when this returns. SIGCONT lets it go on.
  void freeze() const;

  // Exit status, or 128 + signal; nothing when it did not end in time.
  std::optional<int> wait(Seconds timeout);
  // SIGTERM and wait.
  std::optional<int> stop(Seconds timeout = Seconds(15));
  // SIGKILL and wait.
  void kill();

  // All that it has printed so far.
  std::string output() const;
  const std::string& name() const { return name_; }

 private:
  void reap(bool block);

  std::string name_;
  std::string output_path_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// Polls until `holds` or the time is over; the last answer.
bool eventually(Seconds timeout, const std::function<bool()>& holds);

// A port on loopback that nobody listens on and no other call returns, in this process or another,
// while this process lives. Above those of scripts/services, below the ephemeral range.
uint16_t free_port();

// Runs a command to its end and returns its output; throws std::runtime_error with the output when
// it fails.
std::string run(const std::vector<std::string>& arguments, Seconds timeout = Seconds(90));

}  // namespace postoffice::e2e
