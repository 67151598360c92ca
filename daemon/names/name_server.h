// NameServer: answers DNS over UDP for captured clients, whatever resolver they ask: from tape, or by asking that
// resolver.
//
// Questions arrive at doors: sockets made in a client's namespace, which the server's thread is not in. Who sent one,
// and how it is answered, the caller says (view.h). TCP is not its: that goes through the capture like other flows.
// Owner: the run or the daemon. Thread: one of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "daemon/base/endpoint.h"
#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/names/datagrams.h"
#include "daemon/names/view.h"

namespace tapdeck::names {

// Where questions arrive.
struct Door {
  uint64_t id = 0;  // the caller's
  UniqueFd fd;      // UDP, bound, to the wildcard or not; not connected
  Endpoint::Family family = Endpoint::Family::None;
};

// Its functions are called on the server's thread.
struct NameServerOptions {
  // Whose datagram this is, and whom it was sent to. nullopt: nobody's of ours, it is not answered. Answers go to the
  // sender, from the address that the datagram was sent to, whoever the resolver is. Not empty.
  std::function<std::optional<Asker>(uint64_t door, const Datagram& datagram)> asker_of;
  // A connected UDP socket to asker.resolver that does not block, by which it is asked. Not empty.
  std::function<Result<UniqueFd>(const Asker& asker)> connect;
  // With a resolver; then the tape is asked. TapeOnly: below the 5 s after which most clients no longer listen.
  std::chrono::milliseconds patience{4500};
  // OutsideFirst: as long as clients may wait for a resolver that is slow, or ask it again.
  std::chrono::milliseconds long_patience{15000};
  // Early::FromTape: then the tape answers, and the resolver is taken for silent (silent_resolvers.h).
  std::chrono::milliseconds early{1000};
};

struct NameCounts {
  uint64_t answered_from_tape = 0;  // localhost too
  uint64_t relayed = 0;             // datagrams for which a resolver was asked
  uint64_t unknown = 0;             // questions about names that are not on tape, said not to be there
  uint64_t malformed = 0;           // and operations that are no query
  uint64_t withheld = 0;   // questions for HTTPS and SVCB records, said not to be there: h3, ECH are not for us
  uint64_t strangers = 0;  // datagrams of nobody of ours
  uint64_t lost = 0;       // lookups that an on_lookup is not told of: too many at once, no descriptor to ask with
};

// How a question is answered, by its View. TapeOnly: from tape; a name that is not on it does not exist, unless
// `outside` lets it through: then the resolver is asked, and where none answers the tape. OutsideFirst: the resolver;
// where it says nothing, SERVFAIL or REFUSED the tape, if the name is on it; what is no query that we read goes to the
// resolver as it is (Unread), and back what that says, so that we are not in the way of what is not DNS. With
// Early::FromTape the tape does not wait for the resolver to be given up: if it knows the name, and has no failure to
// tell, it answers after a moment, and while the resolver is taken for silent at once; that is asked all the same.
class NameServer {
 public:
  // Without a door. Errors: InvalidArgument, no asker_of or connect; Exhausted, no descriptor or thread.
  [[nodiscard]] static Result<std::unique_ptr<NameServer>> start(NameServerOptions options);
  // Ends at once, but for a look at the tape that is under way; who still waits for an answer gets none.
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  // Any thread. A door of the same id is closed. Errors: those of setsockopt().
  [[nodiscard]] Result<void> open(Door door);
  // Any thread; the socket is closed a moment later, on the server's. Who waits behind it gets no answer any more; an
  // id that is not there is ignored.
  void close(uint64_t id);

  [[nodiscard]] NameCounts counts() const;  // any thread

 private:
  struct Impl;
  explicit NameServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tapdeck::names
