// What resolvers answered the clients of a session, by name and type of record. Kept beside what is known of origins,
// with which it is exported, merged and deleted; no recordings, and not counted as such.
//
// What a DNS message says is not known here (daemon/names). Reads touch the disk. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.h"
#include "store/recording_builder.h"

namespace tapdeck::store {

class ExchangeStore;

// Of 255 octets (RFC 1035 2.3.4) each may be an escape of four characters.
inline constexpr size_t kMostNameBytes = 1024;
// The longest message there is, over TCP too (RFC 1035 4.2.2).
inline constexpr size_t kMostReplyBytes = 65535;

struct NameAnswer {
  std::string name;   // lower case, no trailing dot, "" is the root; what is not printable is escaped (RFC 1035 5.1)
  uint16_t type = 0;  // of the records asked for, of the class IN
  std::string end;    // "answered", "silent" or "unreachable"
  std::string reply;  // the message as the resolver sent it; empty unless answered
  friend bool operator==(const NameAnswer&, const NameAnswer&) = default;
};

// It takes the place of what was known of this name and type. Does nothing where the answer is none: another end, bytes
// in the name that are to be escaped, a name or reply that is too long, a reply where there was none.
[[nodiscard]] PendingWrite name_write(const Take& take, const NameAnswer& answer);

// nullopt: never asked there. `name` in any case. The store that this one was opened beside is asked as well
// (ExchangeStore::open_pending). Errors: NotFound (no such session), Io, Corrupt.
[[nodiscard]] Result<std::optional<NameAnswer>> name_answer(const ExchangeStore& store, std::string_view session,
                                                            std::string_view name, uint16_t type);

// At most `limit` of this store's own, by name and then type. `after` is the cursor_of() the last of the page before,
// or empty. Errors: as name_answer(), and InvalidArgument (no cursor).
[[nodiscard]] Result<std::vector<NameAnswer>> name_answers(const ExchangeStore& store, std::string_view session,
                                                           size_t limit, std::string_view after);
// "www.example,28".
[[nodiscard]] std::string cursor_of(const NameAnswer& answer);

}  // namespace tapdeck::store
