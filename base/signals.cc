#include "base/signals.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace postoffice {
namespace {

constexpr int kOneSignalMs = 50;

void end_at_once(int) { _exit(130); }

}  // namespace

Signals::Signals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  fd_ = FileDescriptor(signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_.is_open()) throw std::system_error(errno, std::generic_category(), "signalfd");
}

void Signals::wait(int other_fd) {
  std::array<pollfd, 2> fds = {pollfd{fd_.get(), POLLIN, 0}, pollfd{other_fd, POLLIN, 0}};
  while (poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
  }
  signalfd_siginfo info{};
  const bool signalled = read(fd_.get(), &info, sizeof info) == sizeof info;
  const bool interrupted = info.ssi_signo == SIGINT;
  // timeout(1) and others signal a process and then its whole group: that is one signal still.
  if (signalled) poll(nullptr, 0, kOneSignalMs);
  for (signalfd_siginfo echo{}; read(fd_.get(), &echo, sizeof echo) > 0;) {
  }
  std::signal(SIGTERM, end_at_once);
  std::signal(SIGINT, end_at_once);
  pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  if (!signalled) return;
  spdlog::info("{}: stopping; a second signal ends at once", interrupted ? "SIGINT" : "SIGTERM");
}

}  // namespace postoffice
