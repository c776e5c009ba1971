#include "store/postgres_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "store/migration.h"
#include "store/store.h"

namespace postoffice {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(PostgresAddress, TakesUrlsAndKeywords) {
  EXPECT_EQ(PostgresAddress("postgres://u:p@db.example:5433/things").shown(),
            "db.example:5433/things");
  EXPECT_EQ(PostgresAddress("postgresql://u:p@[::1]/things?sslmode=require").shown(),
            "::1:5432/things");
  EXPECT_EQ(PostgresAddress("host=/run/postgresql dbname=things password='a b'").shown(),
            "/run/postgresql:5432/things");
  EXPECT_EQ(PostgresAddress("postgres://u:p@a,b/things?target_session_attrs=read-write").shown(),
            "a:5432,b:5432/things");
  EXPECT_EQ(PostgresAddress("postgres://u@a:1,b:2/things").shown(), "a:1,b:2/things");
  EXPECT_EQ(PostgresAddress("host=a,b port=7 dbname=things").shown(), "a:7,b:7/things");
}

TEST(PostgresAddress, DecodesTheUrl) {
  const PostgresAddress address("postgres://us%40er:p%2Fa%40ss:w%3Ard?#@h/d");
  EXPECT_EQ(address.parameters().at("user"), "us@er");
  EXPECT_EQ(address.parameters().at("password"), "p/a@ss:w:rd?#");
}

TEST(PostgresAddress, WhatIsWrongIsBadConfigThatNamesTheSettingAndNotThePassword) {
  for (const char* text : {
           "mysql://u:sesame@h/d",
           "sesame",
           "postgres://u:p@sesame@h/d",
           "postgres://u:p/sesame@h/d",
           "postgres://u:p?q@sesame@h/d",
           "postgres://u:p@q?sesame@h/d",
           "postgres://u:sesame%zz@h/d",
           "postgres://u:sesame@[::1/d",
           "postgres://u:sesame@h:99999/d",
           "postgres://u:sesame@h:0/d",
           "postgres://sesame:u@h:port/d",
           "postgres://u:sesame@h/d?nonsense=1",
           "postgres://u:1@h:sesame/d",
           "host=h password=open sesame",
           "host=h password='sesame",
           "host=h pass\"sesame\"=1",
           "host=h port=sesame",
       }) {
    for (const auto& attempt :
         {std::function<void()>([&] { make_store_factory(text, "data", "name"); }),
          std::function<void()>([&] { make_migrator(text, "data"); })}) {
      try {
        attempt();
        ADD_FAILURE() << text;
      } catch (const BadConfig& error) {
        ASSERT_EQ(error.mistakes().size(), 1U);
        EXPECT_THAT(error.what(), testing::StartsWith("DATABASE_URL must be a PostgreSQL URL"));
        EXPECT_THAT(error.what(), Not(HasSubstr("sesame"))) << text;
      }
    }
  }
}

TEST(PostgresAddress, NeedsNoServerToMakeAFactory) {
  const auto store = make_store_factory("postgres://u:sesame@nowhere.invalid/d", "data", "name")();
  EXPECT_EQ(store->description(), "PostgreSQL at nowhere.invalid:5432/d");
}

}  // namespace
}  // namespace postoffice
