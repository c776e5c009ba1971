#include "store/object_updates.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

using Kind = ObjectUpdate::Kind;

ObjectUpdate update(int64_t id, Kind kind, int64_t received = 0, int64_t checked = 0) {
  return {id, kind, false, from_unix_millis(received), from_unix_millis(checked)};
}

TEST(UpdateGroups, OfOneKindAreOneWithoutTwoOfOneId) {
  const auto groups =
      group_updates({update(9, Kind::kAnswered, 1, 5), update(-3, Kind::kAnswered, 1, 1),
                     update(9, Kind::kAnswered, 4, 3), update(5, Kind::kAnswered, 1, 1)});
  ASSERT_EQ(groups.size(), 1U);
  ASSERT_EQ(groups[0].updates.size(), 3U);
  EXPECT_EQ(groups[0].updates[0].id, -3);
  EXPECT_EQ(groups[0].updates[1].id, 5);
  EXPECT_EQ(groups[0].updates[2].id, 9);
  EXPECT_EQ(to_unix_millis(groups[0].updates[2].received_at), 4);
  EXPECT_EQ(to_unix_millis(groups[0].updates[2].checked_at), 5);
}

TEST(UpdateGroups, AreOneAKindWhenNoIdHasSeveral) {
  const auto groups =
      group_updates({update(1, Kind::kNamed), update(2, Kind::kAnswered), update(3, Kind::kGone),
                     update(4, Kind::kNamed), update(5, Kind::kAnswered)});
  EXPECT_EQ(groups.size(), 3U);
}

TEST(UpdateGroups, KeepTheOrderOfKindsOfOneId) {
  const auto groups = group_updates({update(1, Kind::kNamed), update(1, Kind::kAnswered),
                                     update(1, Kind::kAnswered), update(1, Kind::kNamed)});
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].kind, Kind::kNamed);
  EXPECT_EQ(groups[1].kind, Kind::kAnswered);
  EXPECT_EQ(groups[2].kind, Kind::kNamed);
}

TEST(UpdateGroups, OfNothingAreNone) { EXPECT_TRUE(group_updates({}).empty()); }

}  // namespace
}  // namespace postoffice
