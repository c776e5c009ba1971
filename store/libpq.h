#pragma once

#include <libpq-fe.h>

#include <atomic>

namespace postoffice {

// The address of a function of libpq, which is loaded now if it was not before. Throws Permanent
// when it is not installed. Thread-safe.
void* find_in_libpq(const char* name);

// A function of libpq, found when it is first called. Only who has set DATABASE_URL calls any, and
// libpq brings a lot along (GnuTLS, Kerberos, LDAP: 3 MB resident).
template <typename Function>
class LibpqFunction;

template <typename Result, typename... Arguments>
class LibpqFunction<Result (*)(Arguments...)> {
 public:
  explicit constexpr LibpqFunction(const char* name) : name_(name) {}

  Result operator()(Arguments... arguments) {
    auto function = function_.load(std::memory_order_acquire);
    if (function == nullptr) {
      function = reinterpret_cast<Function>(find_in_libpq(name_));
      function_.store(function, std::memory_order_release);
    }
    return function(arguments...);
  }

 private:
  using Function = Result (*)(Arguments...);

  const char* const name_;
  std::atomic<Function> function_ = nullptr;
};

// In this namespace they have libpq's own names.
// NOLINTBEGIN(readability-identifier-naming, cppcoreguidelines-avoid-non-const-global-variables)
#define POSTOFFICE_LIBPQ(name) inline constinit LibpqFunction<decltype(&::name)> name(#name)
POSTOFFICE_LIBPQ(PQclear);
POSTOFFICE_LIBPQ(PQconndefaults);
POSTOFFICE_LIBPQ(PQconnectdbParams);
POSTOFFICE_LIBPQ(PQconninfoFree);
POSTOFFICE_LIBPQ(PQconninfoParse);
POSTOFFICE_LIBPQ(PQconsumeInput);
POSTOFFICE_LIBPQ(PQerrorMessage);
POSTOFFICE_LIBPQ(PQfinish);
POSTOFFICE_LIBPQ(PQflush);
POSTOFFICE_LIBPQ(PQfreemem);
POSTOFFICE_LIBPQ(PQgetisnull);
POSTOFFICE_LIBPQ(PQgetlength);
POSTOFFICE_LIBPQ(PQgetResult);
POSTOFFICE_LIBPQ(PQgetvalue);
POSTOFFICE_LIBPQ(PQisBusy);
POSTOFFICE_LIBPQ(PQnfields);
POSTOFFICE_LIBPQ(PQntuples);
POSTOFFICE_LIBPQ(PQparameterStatus);
POSTOFFICE_LIBPQ(PQresultErrorField);
POSTOFFICE_LIBPQ(PQresultErrorMessage);
POSTOFFICE_LIBPQ(PQresultStatus);
POSTOFFICE_LIBPQ(PQsendPrepare);
POSTOFFICE_LIBPQ(PQsendQuery);
POSTOFFICE_LIBPQ(PQsendQueryParams);
POSTOFFICE_LIBPQ(PQsendQueryPrepared);
POSTOFFICE_LIBPQ(PQsetnonblocking);
POSTOFFICE_LIBPQ(PQsetNoticeReceiver);
POSTOFFICE_LIBPQ(PQsocket);
POSTOFFICE_LIBPQ(PQstatus);
#undef POSTOFFICE_LIBPQ
// NOLINTEND(readability-identifier-naming, cppcoreguidelines-avoid-non-const-global-variables)

}  // namespace postoffice
