#pragma once

#include <string>
#include <string_view>

namespace postoffice {

inline constexpr const char* kProblemType = "application/problem+json";

// The reason phrase of RFC 9110 for the statuses that Postoffice answers with.
const char* reason_phrase(int status);

// RFC 9457: {"type":"about:blank","title":..,"status":..,"detail":..}.
std::string problem_json(int status, std::string_view detail);

}  // namespace postoffice
