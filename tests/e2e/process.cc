#include "tests/e2e/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace postoffice::e2e {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string new_output_path(const std::string& folder, const std::string& name) {
  for (int number = 1;; ++number) {
    std::string path = folder + "/" + name + "." + std::to_string(number) + ".log";
    if (!std::filesystem::exists(path)) return path;
  }
}

[[noreturn]] void exec_child(const std::vector<char*>& argv, const std::vector<char*>& envp,
                             const char* folder, int output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // Nothing outlives a test that crashed.
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  if (chdir(folder) == 0) execve(argv[0], argv.data(), envp.data());
  _exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& text : strings) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Takes the port for this process until it ends: an abstract socket address (unix(7)) has one owner
// in a network namespace, like the port, and is gone with its owner.
bool claim(uint16_t port) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string text = "postoffice-port-" + std::to_string(port);
  text.copy(name.sun_path + 1, sizeof name.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  const bool is_ours = bind(fd, reinterpret_cast<sockaddr*>(&name), size) == 0;
  if (!is_ours) close(fd);
  return is_ours;
}

}  // namespace

Process::Process(std::vector<std::string> arguments, const Environment& environment,
                 const std::string& folder, const std::string& name)
    : name_(name), output_path_(new_output_path(folder, name)) {
  std::vector<std::string> variables;
  for (const char* kept : {"PATH", "HOME", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                           "LSAN_OPTIONS", "TMPDIR"}) {
    if (const char* value = std::getenv(kept)) variables.push_back(std::string(kept) + "=" + value);
  }
  for (const auto& [key, value] : environment) variables.push_back(key + "=" + value);
  const auto argv = pointers(arguments);
  const auto envp = pointers(variables);
  const int output = open(output_path_.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  pid_ = fork();
  if (pid_ == 0) exec_child(argv, envp, folder.c_str(), output);
  close(output);
  if (pid_ < 0) throw std::runtime_error("fork failed");
}

Process::~Process() { kill(); }

void Process::reap(bool block) {
  if (status_) return;
  int status = 0;
  if (waitpid(pid_, &status, block ? 0 : WNOHANG) != pid_) return;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Process::running() {
  reap(false);
  return !status_;
}

void Process::signal(int number) const { ::kill(pid_, number); }

void Process::freeze() const {
  signal(SIGSTOP);
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED);
}

std::optional<int> Process::wait(Seconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (running() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return status_;
}

std::optional<int> Process::stop(Seconds timeout) {
  if (running()) signal(SIGTERM);
  return wait(timeout);
}

void Process::kill() {
  if (!running()) return;
  signal(SIGKILL);
  reap(true);
}

std::string Process::output() const { return read_file(output_path_); }

bool eventually(Seconds timeout, const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    if (holds()) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

uint16_t free_port() {
  static std::mt19937 random(std::random_device{}());
  while (true) {
    const auto port =
        static_cast<uint16_t>(std::uniform_int_distribution<int>(24'000, 31'999)(random));
    if (!claim(port)) continue;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    const bool is_free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (is_free) return port;
  }
}

std::string run(const std::vector<std::string>& arguments, Seconds timeout) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("postoffice-run-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  Process process(arguments, {}, folder, "run");
  const auto status = process.wait(timeout);
  const std::string output = process.output();
  std::filesystem::remove_all(folder);
  if (status == 0) return output;
  std::string command;
  for (const auto& argument : arguments) command += argument + " ";
  throw std::runtime_error(command + (status ? "failed: " : "did not end: ") + output);
}

}  // namespace postoffice::e2e
