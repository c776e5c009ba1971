#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postoffice::embedded {

using namespace std::string_view_literals;

// AMQP 0-9-1 section 4.2.2.
constexpr std::string_view kProtocolHeader = "AMQP\x00\x00\x09\x01"sv;

// connection.start: what the broker is and can.
void write_start(std::string& out);

struct Login {
  std::string user;
  std::string password;
};

// By mechanism PLAIN (RFC 4616) or AMQPLAIN (a field table). Nothing: it is neither.
std::optional<Login> read_login(std::string_view mechanism, std::string_view response);

}  // namespace postoffice::embedded
