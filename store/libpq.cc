#include "store/libpq.h"

#include <dlfcn.h>

#include "base/error.h"

namespace postoffice {

void* find_in_libpq(const char* name) {
  static void* const kLibrary = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);  // Never unloaded.
  void* const found = kLibrary == nullptr ? nullptr : dlsym(kLibrary, name);
  if (found == nullptr) {
    throw Permanent(
        "DATABASE_URL needs PostgreSQL's client library, libpq.so.5, which cannot be loaded "
        "(Debian: apt-get install libpq5)");
  }
  return found;
}

}  // namespace postoffice
