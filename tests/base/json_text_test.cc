#include "base/json_text.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

TEST(JsonText, EscapesWhatMustBe) {
  EXPECT_EQ(json_quote("a\"b\\c\n\r\t\x01/"), "\"a\\\"b\\\\c\\n\\r\\t\\u0001/\"");
  EXPECT_EQ(json_quote(std::string_view("\0", 1)), "\"\\u0000\"");
  EXPECT_EQ(json_quote(""), "\"\"");
}

TEST(JsonText, KeepsUtf8AndReplacesTheRest) {
  EXPECT_EQ(json_quote("ü€😀"), "\"ü€😀\"");
  for (const char* bad : {"\xFC", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    EXPECT_NE(json_quote(bad).find("\xEF\xBF\xBD"), std::string::npos);
    EXPECT_EQ(json_quote(bad).find(bad), std::string::npos);
  }
}

}  // namespace
}  // namespace postoffice
