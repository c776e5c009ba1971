#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace postoffice::tester {

// Polls until `holds`, at most 20 s; the last answer.
inline bool eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace postoffice::tester
