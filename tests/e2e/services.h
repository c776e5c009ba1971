#pragma once

#include <string>
#include <vector>

namespace postoffice::e2e {

// A variable that scripts/test sets, such as TEST_AMQP_URL; throws std::runtime_error without it.
std::string required_variable(const char* name);

// `scripts/services <verb> DIR <more>`, on the RabbitMQ and PostgreSQL that scripts/test started.
void services(const std::string& verb, const std::vector<std::string>& more);

// Whether the tests run on those, or on what Postoffice has built in: E2E_ENGINES=services (the
// default) or embedded.
bool engines_are_embedded();

}  // namespace postoffice::e2e
