#include "broker/embedded/message_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/broker/temp_folder.h"

namespace postoffice::embedded {
namespace {

class MessageStoreTest : public testing::Test {
 protected:
  const TempFolder folder_;
  MessageStore store_{{{.folder = folder_.path(), .segment_bytes = 256}, 1 << 20}, {}};
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

}  // namespace
}  // namespace postoffice::embedded
