#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postoffice {

// amqp://user:password@host:port/vhost. Missing parts: guest, guest, 5672, "/". The vhost is
// percent-decoded: "amqp://h/%2f" and "amqp://h" both name "/".
struct AmqpUrl {
  std::string host;
  uint16_t port = 5672;
  std::string user = "guest";
  std::string password = "guest";
  std::string vhost = "/";

  // host:port/vhost, for logs: no user, no password.
  std::string address() const;
};

// One or several URLs, comma-separated. On malformed text returns nothing and sets `wanted` to what
// is right.
std::optional<std::vector<AmqpUrl>> parse_amqp_urls(std::string_view text, std::string& wanted);

}  // namespace postoffice
