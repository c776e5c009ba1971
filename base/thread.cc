#include "base/thread.h"

#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <system_error>
#include <utility>

namespace postoffice {
namespace {

struct Start {
  std::string name;
  std::function<void()> body;
};

void* run(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  pthread_setname_np(pthread_self(), start->name.substr(0, 15).c_str());
  try {
    start->body();
  } catch (const std::exception& error) {
    spdlog::critical("thread {}: {}", start->name, error.what());
    spdlog::shutdown();
    std::abort();
  }
  return nullptr;
}

struct Attributes {
  Attributes() { pthread_attr_init(&value); }
  ~Attributes() { pthread_attr_destroy(&value); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  pthread_attr_t value{};
};

}  // namespace

Thread::Thread(std::string name, std::function<void()> body, size_t stack_bytes) {
  Attributes attributes;
  if (stack_bytes != 0) {
    pthread_attr_setstacksize(&attributes.value, stack_bytes);
  }
  auto start = std::make_unique<Start>(Start{std::move(name), std::move(body)});
  const int error = pthread_create(&handle_, &attributes.value, run, start.get());
  if (error != 0) throw std::system_error(error, std::generic_category(), "pthread_create");
  static_cast<void>(start.release());  // run() owns it now.
  joinable_ = true;
}

Thread::Thread(Thread&& other) noexcept
    : handle_(other.handle_), joinable_(std::exchange(other.joinable_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  join();
  handle_ = other.handle_;
  joinable_ = std::exchange(other.joinable_, false);
  return *this;
}

void Thread::join() {
  if (std::exchange(joinable_, false)) pthread_join(handle_, nullptr);
}

}  // namespace postoffice
