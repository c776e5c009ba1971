// Linked into executables that are built with ThreadSanitizer.
//
// Debian's cpp-httplib is not instrumented, so ThreadSanitizer does not see that the initialisation
// of its function-local statics happens before their use by other threads.

#include <httplib.h>

#include <string_view>

// The client's is the std::regex that each status line is matched with: the matchers themselves are
// instrumented, because the library takes them from an executable that has them too. The name of
// this function is ThreadSanitizer's.
// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming)
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() { return "race:std::__detail::_*Matcher\n"; }
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming)

namespace {

// The server's are used by one request before there is a second thread.
class FirstRequest : public httplib::Server {
 public:
  FirstRequest() {
    httplib::detail::BufferStream stream;
    constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write(kRequest.data(), kRequest.size());
    bool closed = false;
    process_request(stream, true, closed, nullptr);
  }
};

const FirstRequest kFirstRequest;

}  // namespace
