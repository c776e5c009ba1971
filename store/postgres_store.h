#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/migration.h"
#include "store/object_updates.h"
#include "store/postgres_address.h"
#include "store/postgres_connection.h"
#include "store/store.h"

namespace postoffice {

// Statements commit one by one, each for many rows in the order of ids, so that no two writers
// deadlock and no lock outlives a statement.
class PostgresStore final : public Store {
 public:
  struct Options {
    std::string name;                   // application_name
    std::vector<Migration> migrations;  // The schema that is expected.
    Millis deadline{10'000};            // Of one call, without connecting.
  };

  PostgresStore(PostgresAddress address, Options options);

  void apply(std::vector<ObjectUpdate> updates) override;
  std::optional<ObjectRow> find(int64_t id) override;
  std::vector<ObjectRow> list(std::optional<bool> online, std::optional<int64_t> after,
                              size_t limit) override;
  ObjectCounts counts() override;
  std::optional<size_t> expire(std::optional<UnixTime> watermark, Millis ttl,
                               size_t limit) override;
  UnixTime now() override;
  void report(const WatermarkReport& report) override;
  std::vector<WatermarkReport> reports() override;
  void forget(const std::string& process) override;
  std::string description() const override;

 private:
  using Deadline = PostgresConnection::Deadline;

  // Calls `body` with the connection, opened if need be, and translates its errors. The deadline of
  // what `body` does begins when it is called: connecting may take 3 s for each address.
  template <typename Body>
  auto with_connection(Body body);
  void connect();
  Deadline deadline() const { return SteadyClock::now() + options_.deadline; }
  PostgresResult execute(const std::string& sql, const PostgresParameters& parameters = {});
  static void apply_group(PostgresConnection& connection, const UpdateGroup& group,
                          Deadline deadline);

  const PostgresAddress address_;
  const Options options_;
  std::unique_ptr<PostgresConnection> connection_;  // Null: to be opened by the next call.
  std::string server_version_;                      // Of the last connection.
};

}  // namespace postoffice
