#include "server/store_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "base/error.h"
#include "tests/server/fake_database.h"

namespace postoffice {
namespace {

constexpr Millis kLong{60'000};

TEST(StorePool, LendsEachStoreToOneAtATime) {
  FakeDatabase database;
  StorePool pool(database.stores(), 2);
  auto first = pool.lease(Millis(0));
  const auto second = pool.lease(Millis(0));
  EXPECT_NE(first.get(), second.get());
  EXPECT_THROW(pool.lease(Millis(1)), Transient);
  const Store* const given_back = first.get();
  first.reset();
  EXPECT_EQ(pool.lease(Millis(0)).get(), given_back);
}

// Whoever else asks is refused at once, and those who wait get theirs.
TEST(StorePool, TwiceAsManyWaitAsThereAreStores) {
  FakeDatabase database;
  StorePool pool(database.stores(), 1);
  auto held = pool.lease(Millis(0));
  std::promise<void> refused;
  std::vector<std::future<bool>> asking;
  for (int i = 0; i < 3; ++i) {
    asking.push_back(std::async(std::launch::async, [&] {
      try {
        return pool.lease(kLong) != nullptr;
      } catch (const Transient&) {
        refused.set_value();  // Throws for a second one.
        return false;
      }
    }));
  }
  EXPECT_EQ(refused.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  held.reset();
  int lent = 0;
  for (auto& one : asking) lent += one.get() ? 1 : 0;
  EXPECT_EQ(lent, 2);
}

}  // namespace
}  // namespace postoffice
