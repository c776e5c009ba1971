#include "broker/embedded/handshake.h"

#include "broker/embedded/field_table.h"
#include "broker/embedded/frame.h"

namespace postoffice::embedded {

void write_start(std::string& out) {
  FieldTable capabilities;
  for (const auto* const name :
       {"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
        "connection.blocked", "consumer_priorities", "authentication_failure_close",
        "per_consumer_qos", "direct_reply_to"}) {
    capabilities.set(name, {'t', int64_t{1}});
  }
  FieldTable properties;
  properties.set("capabilities", FieldValue::of(std::move(capabilities)));
  properties.set("product", FieldValue::of("Postoffice"));
  properties.set("version", FieldValue::of(POSTOFFICE_VERSION));
  properties.set("platform", FieldValue::of("C++"));
  properties.set("information", FieldValue::of("The broker for one machine"));
  MethodWriter writer(out, 0, AMQP_CONNECTION_START_METHOD);
  writer->octet(0).octet(9);
  properties.write(*writer);
  writer->long_string("PLAIN AMQPLAIN").long_string("en_US");
}

std::optional<Login> read_login(std::string_view mechanism, std::string_view response) {
  if (mechanism == "PLAIN") {
    const auto first = response.find('\0');
    if (first == std::string_view::npos) return std::nullopt;
    const auto second = response.find('\0', first + 1);
    if (second == std::string_view::npos) return std::nullopt;
    return Login{std::string(response.substr(first + 1, second - first - 1)),
                 std::string(response.substr(second + 1))};
  }
  if (mechanism == "AMQPLAIN") {
    // A table without its length.
    std::string bytes;
    WireWriter(bytes).long_string(response);
    WireReader reader(bytes);
    const auto table = FieldTable::read(reader);
    const auto user = table.text("LOGIN");
    const auto password = table.text("PASSWORD");
    if (user && password) return Login{std::string(*user), std::string(*password)};
  }
  return std::nullopt;
}

}  // namespace postoffice::embedded
