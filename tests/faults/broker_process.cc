#include "tests/faults/broker_process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

namespace postoffice::faults_test {
namespace {

std::filesystem::path new_folder() {
  std::string folder = (std::filesystem::temp_directory_path() / "faults.XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
  return folder;
}

}  // namespace

BrokerProcess::BrokerProcess(uint32_t segment_bytes)
    : folder_(new_folder()), port_(e2e::free_port()), segment_bytes_(segment_bytes) {}

BrokerProcess::~BrokerProcess() {
  process_.reset();
  if (!testing::Test::HasFailure()) std::filesystem::remove_all(folder_);
}

void BrokerProcess::start() {
  process_ = std::make_unique<e2e::Process>(
      std::vector<std::string>{POSTOFFICE_TEST_DIR "/faults_broker", folder_ / "log",
                               std::to_string(port_), std::to_string(segment_bytes_)},
      e2e::Process::Environment(), folder_, "broker");
}

void BrokerProcess::await() {
  const bool answers = e2e::eventually(e2e::Seconds(30), [&] {
    if (!process_->running()) return true;
    try {
      connect();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  });
  if (!answers || !process_->running()) {
    throw std::runtime_error("the broker does not answer: " + process_->output());
  }
}

void BrokerProcess::kill() { process_->kill(); }

void BrokerProcess::restart() {
  kill();
  start();
  await();
}

uint64_t BrokerProcess::resident_bytes() const {
  std::ifstream file("/proc/" + std::to_string(process_->pid()) + "/statm");
  uint64_t all_pages = 0;
  uint64_t resident_pages = 0;
  file >> all_pages >> resident_pages;
  return resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

int BrokerProcess::open_sockets() const {
  int sockets = 0;
  const auto files = "/proc/" + std::to_string(process_->pid()) + "/fd";
  for (const auto& file : std::filesystem::directory_iterator(files)) {
    std::error_code ignored;
    const auto what = std::filesystem::read_symlink(file, ignored).string();
    if (what.starts_with("socket:")) ++sockets;
  }
  return sockets;
}

std::unique_ptr<amqp_test::Client> BrokerProcess::connect(
    const amqp_test::OpenOptions& options) const {
  auto client = std::make_unique<amqp_test::Client>("127.0.0.1", port_);
  client->open(options);
  return client;
}

}  // namespace postoffice::faults_test
