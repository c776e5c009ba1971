#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/sqlite.h"
#include "store/migration.h"
#include "store/object_updates.h"
#include "store/store.h"

namespace postoffice {

// Any number of processes may use the file at once; a writer waits for the others, 5 s at most. The
// database's clock is the machine's.
class SqliteStore final : public Store {
 public:
  // `migrations`: the schema that is expected.
  SqliteStore(const std::string& data_dir, std::vector<Migration> migrations);
  ~SqliteStore() override;

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
  struct Session;  // An open file and its prepared statements.

  // Calls `body` with the session, opened if need be, and translates its errors.
  template <typename Body>
  auto with_session(Body body);
  std::unique_ptr<Session> open() const;
  static void apply_group(Session& session, const UpdateGroup& group, UnixTime now);

  const std::string path_;
  const std::vector<Migration> migrations_;
  std::unique_ptr<Session> session_;  // Null: to be opened by the next call.
};

}  // namespace postoffice
