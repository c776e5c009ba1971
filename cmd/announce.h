#pragma once

#include <string>
#include <vector>

#include "broker/amqp_url.h"
#include "cmd/config.h"
#include "store/store.h"

namespace postoffice {

// "broker 127.0.0.1:5672/, database PostgreSQL at 127.0.0.1:5432/postoffice": what a process is set
// up to talk to, for the line it logs at its start. No passwords.
std::string describe_engines(const Config& config, const StoreFactory& factory);

}  // namespace postoffice
