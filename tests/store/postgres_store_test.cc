#include "store/postgres_store.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <future>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "tests/store/test_database.h"

// What only PostgreSQL can do to a store.
namespace postoffice::testing_store {
namespace {

using Kind = ObjectUpdate::Kind;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class StorePostgres : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_engine(Engine::kPostgres)) GTEST_SKIP() << "TEST_DATABASE_URL is not set";
    database_ = make_test_database(Engine::kPostgres);
    database_->migrator()->migrate();
    store_ = open();
    now_ = store_->now();
  }

  std::unique_ptr<PostgresStore> open(Millis deadline = seconds(10)) const {
    return std::make_unique<PostgresStore>(
        PostgresAddress(database_->url()),
        PostgresStore::Options{"store_tests", migrations_for("postgres"), deadline});
  }
  ObjectUpdate answered(int64_t id) const { return {id, Kind::kAnswered, true, now_, now_}; }
  void insert_old_rows(int count) const {
    database_->execute(
        "INSERT INTO objects SELECT i, true, now() - interval '1 h', now() FROM "
        "generate_series(1, " +
        std::to_string(count) + ") i");
  }
  // Of `store`'s connection.
  static std::string backend_of(PostgresStore& store, TestDatabase& database) {
    store.now();
    return database.query(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'store_tests'"
        " AND datname = current_database() ORDER BY query_start DESC LIMIT 1");
  }
  bool waits_for_lock() const {
    return eventually([&] {
      return database_->query(
                 "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                 " AND application_name = 'store_tests' AND datname = current_database()") != "0";
    });
  }
  // A trigger that fails every insertion with an SQLSTATE.
  void fail_with(const std::string& sqlstate) const {
    database_->execute(
        "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'made to fail' USING ERRCODE = '" +
        sqlstate +
        "'; END $$; CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON objects"
        " FOR EACH ROW EXECUTE FUNCTION fail()");
  }

  std::unique_ptr<TestDatabase> database_;
  std::unique_ptr<PostgresStore> store_;
  UnixTime now_;
};

TEST_F(StorePostgres, ErrorsOfTheDataArePermanentAndAllOthersTransient) {
  for (const char* sqlstate : {"22000", "22008", "22P02", "23505", "23514"}) {
    fail_with(sqlstate);
    EXPECT_THAT(message_of<Permanent>([&] { store_->apply({answered(1)}); }),
                AllOf(HasSubstr("made to fail"), HasSubstr(sqlstate)));
  }
  for (const char* sqlstate : {"08006", "25006", "40001", "40P01", "42501", "42P01", "53100",
                               "55P03", "57014", "57P03", "58030", "P0001", "XX000"}) {
    fail_with(sqlstate);
    EXPECT_THAT(message_of<Transient>([&] { store_->apply({answered(1)}); }),
                AllOf(HasSubstr("made to fail"), HasSubstr(sqlstate)));
  }
  database_->execute("DROP TRIGGER fail ON objects");
  store_->apply({answered(1)});
}

TEST_F(StorePostgres, ExpirySkipsLockedRowsWithoutWaitingAndLeavesWhatMovedMeanwhile) {
  insert_old_rows(10);
  const auto other = make_session(*database_);
  other->execute("BEGIN");
  other->execute("UPDATE objects SET last_seen = now() WHERE id = 4");
  EXPECT_EQ(store_->expire({}, seconds(30), 100), 9U);
  other->execute("COMMIT");
  EXPECT_EQ(store_->expire({}, seconds(30), 100), 0U);
  EXPECT_TRUE(store_->find(4));
}

TEST_F(StorePostgres, LockedRowsDoNotCountForTheLimit) {
  insert_old_rows(10);
  const auto other = make_session(*database_);
  other->execute("BEGIN");
  other->execute("SELECT FROM objects WHERE id <= 5 FOR UPDATE");
  EXPECT_EQ(store_->expire({}, seconds(30), 3), 3U);
  other->execute("ROLLBACK");
}

TEST_F(StorePostgres, TheSecondExpirerLeavesItToTheFirstAndUpsertsGoOn) {
  insert_old_rows(10);
  // The first expirer waits in a trigger for a lock that this test holds.
  const auto holder = make_session(*database_);
  holder->execute("SELECT pg_advisory_lock(77)");
  database_->execute(
      "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " PERFORM pg_advisory_lock(77); PERFORM pg_advisory_unlock(77); RETURN OLD; END $$;"
      " CREATE TRIGGER wait BEFORE DELETE ON objects FOR EACH ROW WHEN (OLD.id = 5)"
      " EXECUTE FUNCTION wait()");
  const auto first = open();
  auto expired =
      std::async(std::launch::async, [&] { return first->expire({}, seconds(30), 100); });
  ASSERT_TRUE(waits_for_lock());
  database_->execute("INSERT INTO objects VALUES (12, true, '2020-01-01', now())");
  EXPECT_EQ(store_->expire({}, seconds(30), 100), std::nullopt);
  EXPECT_TRUE(store_->find(12));
  store_->apply({answered(11)});
  holder->execute("SELECT pg_advisory_unlock(77)");
  EXPECT_EQ(expired.get(), 10U);
  EXPECT_EQ(store_->expire({}, seconds(30), 100), 1U);
  EXPECT_TRUE(store_->find(11));
}

TEST_F(StorePostgres, AnUpsertOfARowThatIsBeingExpiredInsertsItAgain) {
  insert_old_rows(1);
  const auto other = make_session(*database_);
  other->execute("BEGIN");
  other->execute("DELETE FROM objects WHERE id = 1");
  auto applied = std::async(std::launch::async, [&] { store_->apply({answered(1)}); });
  ASSERT_TRUE(waits_for_lock());
  other->execute("COMMIT");
  applied.get();
  EXPECT_EQ(store_->find(1)->last_seen, now_);
}

TEST_F(StorePostgres, ALockThatIsHeldTooLongIsTransientAtTheDeadlineAndTheServerGivesUpToo) {
  store_->apply({answered(1)});
  const auto other = make_session(*database_);
  other->execute("BEGIN");
  other->execute("SELECT FROM objects WHERE id = 1 FOR UPDATE");
  const auto hurried = open(Millis(2000));
  const auto start = SteadyClock::now();
  EXPECT_THROW(hurried->apply({answered(1)}), Transient);
  EXPECT_LT(SteadyClock::now() - start, seconds(15));
  EXPECT_TRUE(eventually([&] {
    return database_->query(
               "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
               " AND datname = current_database()") == "0";
  }));
  other->execute("ROLLBACK");
  hurried->apply({answered(1)});
}

// As scripts/services pause does, but only to the one process that serves this connection.
class PausedBackend {
 public:
  explicit PausedBackend(const std::string& pid) : pid_(std::stoi(pid)) { kill(pid_, SIGSTOP); }
  ~PausedBackend() { kill(pid_, SIGCONT); }
  PausedBackend(const PausedBackend&) = delete;
  PausedBackend& operator=(const PausedBackend&) = delete;

 private:
  const pid_t pid_;
};

TEST_F(StorePostgres, AServerThatHangsIsTransientAtTheDeadline) {
  const auto hurried = open(Millis(2000));
  hurried->apply({answered(1)});  // The statement is prepared.
  const PausedBackend paused(backend_of(*hurried, *database_));
  const auto start = SteadyClock::now();
  EXPECT_THAT(message_of<Transient>([&] { hurried->apply({answered(1)}); }),
              HasSubstr("no answer within the deadline"));
  const auto took = SteadyClock::now() - start;
  EXPECT_GE(took, Millis(2000));
  EXPECT_LT(took, seconds(15));
  EXPECT_LT(hurried->now() - now_, seconds(60)) << "a new connection works";
}

TEST_F(StorePostgres, AHugeBatchToAServerThatHangsIsTransientAtTheDeadline) {
  const auto hurried = open(Millis(2000));
  // More than the buffers of the sockets hold.
  std::vector<ObjectUpdate> batch;
  for (int64_t id = 0; id < 500'000; ++id) batch.push_back(answered(id));
  hurried->apply({answered(1)});  // The statement is prepared.
  const PausedBackend paused(backend_of(*hurried, *database_));
  const auto start = SteadyClock::now();
  EXPECT_THROW(hurried->apply(std::move(batch)), Transient);
  EXPECT_LT(SteadyClock::now() - start, seconds(15));
}

// Takes connections and never answers.
class SilentServer {
 public:
  SilentServer() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.get(), 10), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = std::to_string(ntohs(address.sin_port));
  }
  const std::string& port() const { return port_; }

 private:
  FileDescriptor listener_;
  std::string port_;
};

TEST(ConnectingPostgres, ToASocketThatNeverAnswersEndsInTime) {
  const SilentServer silent;
  // An endless timeout is no deadline, so it is not taken over from the address.
  const auto url = "postgres://u:sesame@127.0.0.1:" + silent.port() + "/d?connect_timeout=0";
  const auto store = make_store_factory(url, "unused", "store_tests")();
  const auto start = SteadyClock::now();
  EXPECT_THAT(message_of<Transient>([&] { store->now(); }),
              AllOf(HasSubstr("timeout"), Not(HasSubstr("sesame"))));
  EXPECT_LT(SteadyClock::now() - start, seconds(15));
}

// The first of two hosts takes all of its connect_timeout, which is longer than a call may take.
TEST_F(StorePostgres, ConnectingTakesNothingFromTheDeadlineOfTheCall) {
  const SilentServer silent;
  auto parameters = PostgresAddress(database_->url()).parameters();
  parameters["host"] = "127.0.0.1," + parameters["host"];
  parameters["port"] = silent.port() + "," + parameters["port"];
  parameters["connect_timeout"] = "4";
  std::string url;
  for (const auto& [keyword, value] : parameters) url += keyword + "='" + value + "' ";
  const auto open_slowly = [&] {
    return PostgresStore(PostgresAddress(url),
                         {"store_tests", migrations_for("postgres"), Millis(3500)});
  };
  auto reading = open_slowly();
  const auto start = SteadyClock::now();
  EXPECT_FALSE(reading.find(1));
  EXPECT_GE(SteadyClock::now() - start, Millis(3500)) << "connecting was to be slow";
  auto writing = open_slowly();
  writing.apply({answered(1)});
  EXPECT_TRUE(writing.find(1));
}

TEST(ConnectingPostgres, ToNobodyIsTransient) {
  const auto store = make_store_factory("postgres://u:sesame@127.0.0.1:1/d", "data", "name")();
  EXPECT_THAT(message_of<Transient>([&] {
                store->apply({{1, Kind::kNamed, false, {}, {}}});
              }),
              AllOf(HasSubstr("127.0.0.1:1/d"), HasSubstr("refused"), Not(HasSubstr("sesame")),
                    Not(HasSubstr("\n"))));
}

TEST_F(StorePostgres, AWrongPasswordIsTransientAndNotShown) {
  auto parameters = PostgresAddress(database_->url()).parameters();
  parameters["password"] = "sesame";
  std::string url;
  for (const auto& [keyword, value] : parameters) url += keyword + "='" + value + "' ";
  const auto store = make_store_factory(url, "data", "name")();
  EXPECT_THAT(message_of<Transient>([&] { store->now(); }),
              AllOf(HasSubstr("password authentication failed"), Not(HasSubstr("sesame"))));
  EXPECT_THAT(store->description(), Not(HasSubstr("sesame")));
}

TEST_F(StorePostgres, AConnectionThatEndedWhileItWasNotUsedIsOpenedAgainUnnoticed) {
  const auto backend = backend_of(*store_, *database_);
  database_->execute("SELECT pg_terminate_backend(" + backend + ", 10000)");
  store_->apply({answered(1)});
  EXPECT_TRUE(store_->find(1));
  EXPECT_NE(backend_of(*store_, *database_), backend);
}

TEST_F(StorePostgres, AConnectionThatEndsDuringACallIsTransientAndOpenedAgain) {
  const auto other = make_session(*database_);
  // While the statement is prepared, and when it has been.
  for (const bool prepared : {false, true}) {
    if (prepared) store_->apply({answered(1)});
    const auto backend = backend_of(*store_, *database_);
    other->execute("BEGIN");
    other->execute("LOCK TABLE objects");
    auto applied = std::async(std::launch::async, [&] { store_->apply({answered(1)}); });
    ASSERT_TRUE(waits_for_lock());
    other->execute("SELECT pg_terminate_backend(" + backend + ")");
    EXPECT_THAT(message_of<Transient>([&] { applied.get(); }), HasSubstr("terminating connection"));
    other->execute("ROLLBACK");
    store_->apply({answered(1)});
  }
}

TEST_F(StorePostgres, DefaultsOfTheDatabaseChangeNothing) {
  const auto name = database_->query("SELECT current_database()");
  for (const char* setting :
       {"timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'",
        "synchronous_commit = off", "default_transaction_isolation = 'serializable'",
        "bytea_output = 'escape'", "extra_float_digits = 0", "statement_timeout = 2000"}) {
    database_->execute("ALTER DATABASE " + name + " SET " + setting);
  }
  database_->execute(
      "CREATE TABLE settings AS SELECT ''::text AS value WHERE false;"
      "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " INSERT INTO settings VALUES (current_setting('synchronous_commit') || ', ' ||"
      " current_setting('transaction_isolation') || ', ' || current_setting('statement_timeout'));"
      " RAISE NOTICE 'noted'; RETURN NEW; END $$;"
      "CREATE TRIGGER note BEFORE INSERT ON objects FOR EACH ROW EXECUTE FUNCTION note()");
  const auto store = open();
  testing::internal::CaptureStderr();
  store->apply({answered(1)});
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "notices are not for users";
  EXPECT_EQ(store->find(1)->last_seen, now_);
  EXPECT_EQ(store->find(1)->checked_at, now_);
  EXPECT_EQ(database_->query("SELECT value FROM settings"), "on, read committed, 10s");
  EXPECT_EQ(database_->query("SELECT (extract(epoch FROM last_seen) * 1000)::bigint FROM objects"),
            std::to_string(to_unix_millis(now_)));
}

TEST_F(StorePostgres, RemoteApplyWhichIsMoreIsLeftAsItIs) {
  const auto name = database_->query("SELECT current_database()");
  database_->execute("ALTER DATABASE " + name + " SET synchronous_commit = remote_apply");
  database_->execute(
      "CREATE FUNCTION check_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " RAISE EXCEPTION 'it is %', current_setting('synchronous_commit'); END $$;"
      "CREATE TRIGGER check_commit BEFORE INSERT ON objects"
      " FOR EACH ROW EXECUTE FUNCTION check_commit()");
  EXPECT_THAT(message_of<Transient>([&] { open()->apply({answered(1)}); }),
              HasSubstr("it is remote_apply"));
}

TEST_F(StorePostgres, IsSeenByItsNameUnlessTheAddressHasOne) {
  const auto named = make_store_factory(database_->url(), "data", "postoffice worker")();
  const auto renamed = make_store_factory(database_->url() + " application_name=mine", "data",
                                          "postoffice worker")();
  named->now();
  renamed->now();
  EXPECT_EQ(database_->query("SELECT count(*) FROM pg_stat_activity"
                             " WHERE application_name IN ('postoffice worker', 'mine')"
                             " AND datname = current_database()"),
            "2");
}

TEST_F(StorePostgres, ExpiryUsesTheIndexAlsoBeforeTheTableWasAnalyzed) {
  database_->execute("ALTER TABLE objects SET (autovacuum_enabled = off)");
  insert_old_rows(100'000);
  ASSERT_EQ(store_->expire({}, seconds(30), 1000), 1000U);
  store_.reset();  // Its statistics are flushed at the latest when it ends.
  EXPECT_TRUE(eventually([&] {
    return database_->query(
               "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname ="
               " 'objects_last_seen'") == "1";
  }));
  EXPECT_EQ(
      database_->query("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'objects'"),
      "0");
}

}  // namespace
}  // namespace postoffice::testing_store
