#include "tests/e2e/services.h"

#include <cstdlib>
#include <stdexcept>

#include "tests/e2e/process.h"

namespace postoffice::e2e {
namespace {

const std::string kScript = std::string(POSTOFFICE_SOURCE_DIR) + "/scripts/services";

}  // namespace

std::string required_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr)
    throw std::runtime_error(std::string(name) + " is not set: run scripts/test");
  return value;
}

void services(const std::string& verb, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"/bin/bash", kScript, verb,
                                        required_variable("TEST_SERVICES_DIR")};
  arguments.insert(arguments.end(), more.begin(), more.end());
  run(arguments, Seconds(120));
}

bool engines_are_embedded() {
  const char* value = std::getenv("E2E_ENGINES");
  const std::string engines = value == nullptr ? "services" : value;
  if (engines != "services" && engines != "embedded") {
    throw std::runtime_error("E2E_ENGINES is \"" + engines + "\": it must be services or embedded");
  }
  return engines == "embedded";
}

}  // namespace postoffice::e2e
