#include "bench/processes/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace postoffice::bench {
namespace {

// Fields of /proc/PID/stat or that of a thread, from the third one on; none when it is gone.
std::vector<std::string> stat_of(const std::string& name) {
  std::ifstream file(name);
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  if (end == std::string::npos) return {};
  std::istringstream rest(line.substr(end + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

uint64_t kib_of(pid_t process, std::string_view field) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size()));
  }
  return 0;
}

// As exec wants them.
std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const auto& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments,
                 const std::map<std::string, std::string>& environment, const std::string& folder,
                 const std::string& output_file) {
  auto words = pointers_to(arguments);
  std::vector<std::string> settings;
  settings.reserve(environment.size());
  for (const auto& [name, value] : environment) settings.push_back(name + "=" + value);
  auto names = pointers_to(settings);

  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int output = open(output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int input = open("/dev/null", O_RDONLY);
  if (chdir(folder.c_str()) == 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1 &&
      dup2(output, 2) == 2) {
    execve(words[0], words.data(), names.data());
  }
  _exit(127);
}

void Process::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  wait();
}

int Process::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

uint64_t resident_bytes(pid_t process) { return kib_of(process, "VmRSS:") << 10; }

uint64_t resident_anonymous_bytes(pid_t process) { return kib_of(process, "RssAnon:") << 10; }

std::chrono::microseconds cpu_time(pid_t process) {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &time) != 0) return {};
  return std::chrono::microseconds(time.tv_sec * 1'000'000 + time.tv_nsec / 1000);
}

std::map<pid_t, std::chrono::microseconds> thread_times(pid_t process) {
  std::map<pid_t, std::chrono::microseconds> times;
  std::error_code gone;
  const auto folder = "/proc/" + std::to_string(process) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(folder, gone)) {
    const auto fields = stat_of(thread.path() / "stat");
    if (fields.size() < 13) continue;
    const int64_t ticks = std::stoll(fields[11]) + std::stoll(fields[12]);
    times[std::stoi(thread.path().filename())] =
        std::chrono::microseconds(ticks * 1'000'000 / sysconf(_SC_CLK_TCK));
  }
  return times;
}

std::vector<pid_t> family_of(pid_t process) {
  std::multimap<pid_t, pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto fields = stat_of(entry.path() / "stat");
    if (fields.size() > 1) children.emplace(std::stoi(fields[1]), std::stoi(name));
  }
  std::vector<pid_t> family = {process};
  for (size_t i = 0; i < family.size(); ++i) {
    const auto [begin, end] = children.equal_range(family[i]);
    for (auto child = begin; child != end; ++child) family.push_back(child->second);
  }
  return family;
}

}  // namespace postoffice::bench
