#include "broker/amqp_url.h"

#include "base/text.h"
#include "base/url.h"

namespace postoffice {
namespace {

constexpr size_t kMostShortStringBytes = 255;  // AMQP 0-9-1 section 4.2.5.3.

// "", "/" and "/%2f" name "/". More than one segment, a query or a fragment is refused: ignoring it
// would connect to something else than what was asked for.
std::optional<std::string> vhost_of(std::string_view path) {
  if (path.empty() || path == "/") return "/";
  if (path.front() != '/' || path.find_first_of("/?#", 1) != std::string_view::npos)
    return std::nullopt;
  return percent_decode(path.substr(1));
}

std::optional<AmqpUrl> parse_one(std::string_view text) {
  const auto parts = parse_url(text);
  if (!parts || parts->scheme != "amqp") return std::nullopt;
  auto vhost = vhost_of(parts->path);
  if (!vhost || vhost->size() > kMostShortStringBytes) return std::nullopt;
  AmqpUrl url;
  url.host = parts->host;
  url.port = parts->port.value_or(url.port);
  if (!parts->user.empty()) url.user = parts->user;
  if (!parts->password.empty()) url.password = parts->password;
  url.vhost = std::move(*vhost);
  // SASL PLAIN separates with NUL, and librabbitmq takes C strings.
  for (const auto* part : {&url.host, &url.user, &url.password, &url.vhost}) {
    if (part->find('\0') != std::string::npos) return std::nullopt;
  }
  return url;
}

}  // namespace

std::string AmqpUrl::address() const {
  const bool v6 = host.find(':') != std::string::npos;
  std::string text = v6 ? "[" + host + "]" : host;
  text += ':' + std::to_string(port);
  text += vhost.starts_with('/') ? vhost : '/' + vhost;
  return text;
}

std::optional<std::vector<AmqpUrl>> parse_amqp_urls(std::string_view text, std::string& wanted) {
  std::vector<AmqpUrl> urls;
  while (true) {
    const size_t comma = text.find(',');
    auto url = parse_one(trim(text.substr(0, comma), " \t\r\n"));
    if (!url) {
      wanted =
          "amqp://[user[:password]@]host[:port][/vhost], or several separated by commas; what is "
          "special in user, password or vhost percent-encoded";
      return std::nullopt;
    }
    urls.push_back(std::move(*url));
    if (comma == std::string_view::npos) return urls;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace postoffice
