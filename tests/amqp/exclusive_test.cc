#include "tests/amqp/fixture.h"

namespace postoffice::amqp_test {
namespace {

class ExclusiveTest : public ChannelTest {};
INSTANTIATE_ON_ENGINES(ExclusiveTest);

TEST_P(ExclusiveTest, OtherConnectionsAreRefusedWith405) {
  ch().declare(q(), {.exclusive = true});
  Channel other = other_connection();
  other.refuses(queue_declare(q(), {.exclusive = true}), 405);
  other.refuses(queue_declare(q(), {.passive = true}), 405);
  other.refuses(basic_consume(q()), 405);
  other.refuses(basic_get(q()), 405);
  other.refuses(queue_bind(q(), "amq.direct", "k"), 405);
  other.refuses(queue_purge(q()), 405);
  other.refuses(queue_delete(q()), 405);
}

TEST_P(ExclusiveTest, OtherConnectionsMayPublish) {
  ch().declare(q(), {.exclusive = true});
  Channel other = other_connection();
  other.confirm_select();
  other.publish(q(), "from outside");
  other.confirms();
  EXPECT_EQ(ch().get(q())->body, "from outside");
}

TEST_P(ExclusiveTest, OtherChannelsOfTheConnectionMayUseIt) {
  ch().declare(q(), {.exclusive = true});
  Channel sibling = client().channel(2);
  sibling.declare(q(), {.exclusive = true});
  sibling.consume(q());
  ch().publish(q(), "body");
  EXPECT_EQ(sibling.delivery().body, "body");
}

TEST_P(ExclusiveTest, MismatchIs405) {
  ch().declare(q(), {.exclusive = true});
  ch().refuses(queue_declare(q()), 405);
  const std::string shared = queue_name("shared");
  ch().declare(shared);
  ch().refuses(queue_declare(shared, {.exclusive = true}), 405);
}

TEST_P(ExclusiveTest, GoneWhenTheConnectionCloses) {
  Client& owner = open_client();
  owner.channel(1).declare(q(), {.durable = true, .exclusive = true});
  owner.close();
  ch().await_gone(q());
}

TEST_P(ExclusiveTest, GoneWhenTheConnectionDrops) {
  Client& owner = open_client();
  owner.channel(1).declare(q(), {.exclusive = true});
  owner.drop();
  ch().await_gone(q());
}

TEST_P(ExclusiveTest, OutlivesItsChannel) {
  Channel declarer = client().channel(2);
  declarer.declare(q(), {.exclusive = true});
  declarer.close();
  ch().declare(q(), {.exclusive = true});
}

TEST_P(ExclusiveTest, SecondConsumerBesideAnExclusiveOneIs403) {
  ch().declare(q());
  const std::string tag = ch().consume(q(), {.exclusive = true});
  Channel other = other_connection();
  other.refuses(basic_consume(q()), 403);
  other.refuses(basic_consume(q(), {.exclusive = true}), 403);
  ch().call(basic_cancel(tag));
  other.consume(q());
  ch().refuses(basic_consume(q(), {.exclusive = true}), 403);
}

}  // namespace
}  // namespace postoffice::amqp_test
