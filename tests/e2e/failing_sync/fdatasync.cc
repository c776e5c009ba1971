// Preloaded, makes every fdatasync fail with EIO from when the file named FAIL_SYNC_FROM is there.

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

extern "C" int fdatasync(int fd) {
  const char* file = std::getenv("FAIL_SYNC_FROM");
  if (file != nullptr && access(file, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  using Sync = int (*)(int);
  static const auto kReal = reinterpret_cast<Sync>(dlsym(RTLD_NEXT, "fdatasync"));
  return kReal(fd);
}
