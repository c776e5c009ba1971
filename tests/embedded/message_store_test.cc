#include "broker/embedded/message_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <string>

#include "broker/embedded/virtual_host.h"
#include "tests/broker/temp_folder.h"

namespace postoffice::embedded {
namespace {

class NoTurn : public Turn {
 public:
  void wake(Queue& /*queue*/) override {}
  void call_at(Queue& /*queue*/, SteadyClock::time_point /*when*/) override {}
};

class MessageStoreTest : public testing::Test {
 protected:
  const TempFolder folder_;
  const MessageStore::Options options_{{.folder = folder_.path(), .segment_bytes = 256}, 1 << 20};
  MessageStore store_{options_, {}};
};

// What a turn settles stands behind what it published. When a segment ended between the two, the
// message was confirmed while acknowledgements from before it could still be lost.
TEST_F(MessageStoreTest, ATurnIsDurableWhenAllOfItIs) {
  store_.recover();
  store_.append_record(std::string(200, 'x'));
  store_.append_record(std::string(200, 'y'));
  store_.flush();
  store_.append_record("z");
  store_.flush();
  store_.durable(1);
  EXPECT_EQ(store_.durable(), 0U);
  store_.durable(2);
  EXPECT_EQ(store_.durable(), 2U);
  store_.durable(3);
  EXPECT_EQ(store_.durable(), 3U);
}

// What consumers, declarations and commits left there was never freed.
TEST_F(MessageStoreTest, TakesNothingMoreOnceTheLogHasFailed) {
  store_.recover();
  store_.fail();
  Content content;
  const std::string body(2 << 20, 'x');
  content.body = body;
  const MessagePtr message(new Message(content, false, store_.memory()));
  store_.append_record(std::string(200, 'x'));
  store_.append(*message);
  store_.keep(message);
  store_.flush();
  EXPECT_EQ(store_.unwritten_bytes(), 0U);
  EXPECT_TRUE(message->has_content());
}

// Its queue's segment was dropped, and the broker killed before the removal of both was on disk. A
// queue of that name that was declared later was bound again by the restart after that.
TEST_F(MessageStoreTest, ABindingWithoutAQueueIsRemovedForGood) {
  const BindingRecord binding{"/", "amq.topic", false, "q", "key", {}};
  store_.recover();
  store_.start();
  store_.append_record(binding.write(RecordType::kBinding));
  store_.stop();
  {
    MessageStore store(options_, {});
    const auto recovered = store.recover();
    ASSERT_EQ(recovered.bindings.size(), 1U);
    NoTurn turn;
    uint64_t next_queue_id = 1;
    VirtualHost vhost("/", store, turn, next_queue_id);
    for (const auto& [key, found] : recovered.bindings) vhost.restore(found.first, found.second);
    store.start();
    store.stop();
  }
  EXPECT_TRUE(MessageStore(options_, {}).recover().bindings.empty());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Of this process, in KiB.
size_t memory_kib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
  }
  return 0;
}

// All messages and settlements in the log were kept until its end.
TEST_F(MessageStoreTest, RecoveryTakesMemoryForWhatWaitsOnly) {
  constexpr uint64_t kMessages = 300'000;
  constexpr uint64_t kFirst = 1;  // It waits: the log is kept for it.
  const Log::Options log_options{.folder = folder_.path(), .segment_bytes = 1 << 20};
  uint64_t memory = 0;
  Content content;
  content.properties = std::string_view("\0\0", 2);
  content.routing_key = "q";
  const Message message(content, true, memory);
  {
    Log log(log_options, {});
    log.start();
    log.append({QueueRecord{1, "/", "q", false, false, {}}.write()});
    for (uint64_t seq = kFirst; seq <= kMessages; ++seq) {
      std::string head;
      WireWriter(head).octet('M').u32(1).u64(1).u64(seq).u32(0);
      log.append({head, message.content()});
      std::string settled;
      WireWriter(settled).octet('A').u64(1).u64(seq).u32(1).u64(seq);
      if (seq != kFirst) log.append({settled});
    }
  }
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;  // The highest counts from here on.
  const size_t before = memory_kib("VmRSS");
  MessageStore store({log_options, 1 << 20}, {});
  const auto recovered = store.recover();
  EXPECT_LT(memory_kib("VmHWM"), before + (20U << 10))
      << "beside 90 MiB of messages and settlements";
  const auto& queue = recovered.queues.at(1);
  ASSERT_EQ(queue.messages.size(), 1U);
  EXPECT_EQ(queue.messages[0].seq, kFirst);
  EXPECT_EQ(queue.last_seq, kMessages);
}
#endif

}  // namespace
}  // namespace postoffice::embedded
