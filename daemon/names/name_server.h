// NameServer: answers DNS over UDP in a namespace where every address is local (`run --capture netns`), whatever
// resolver a client asks: from tape, or by asking that resolver outside.
//
// The sockets are made in the namespace; the server's thread is not in it. TCP is not its: that goes through the
// capture like other flows. Owner: the run. Thread: one of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/names/tape_answers.h"

namespace tapdeck::names {

enum class Ask {
  TapeOnly,      // replay: what is not on tape does not exist
  OutsideFirst,  // else: the tape only where no resolver answers
};

// Which of the two is asked for a name, in replay.
enum class Outside {
  No,         // the tape alone
  AfterTape,  // the resolver, where the tape does not know the name
  First,      // the resolver; the tape where none answers
};

struct NameServerOptions {
  UniqueFd v4, v6;  // UDP, bound to the wildcard; one may be absent
  Ask ask = Ask::TapeOnly;
  Tape tape;  // asked on the server's thread; may block
  // TapeOnly: whose names the resolver is asked for nevertheless. May be empty: nobody's.
  std::function<Outside(std::string_view name)> outside;
  // TapeOnly: addresses of a family that cannot be reached outside are of no use to who is let through.
  bool reaches_v4 = true, reaches_v6 = true;
  std::vector<std::string> search;                     // TapeAnswers's
  std::function<void(const std::string&)> on_unknown;  // TapeAnswers's, on the server's thread; may be empty
  // With a resolver outside; then the tape is asked. Below the 5 s after which most clients no longer listen.
  std::chrono::milliseconds patience{4500};
  uint16_t port = 53;  // of the resolvers outside
};

struct NameCounts {
  uint64_t answered_from_tape = 0;
  uint64_t relayed = 0;    // questions asked outside
  uint64_t unknown = 0;    // questions about names that are not on tape, but those of TapeAnswers that are not reported
  uint64_t malformed = 0;  // and operations that are no query
  uint64_t withheld = 0;   // questions for HTTPS and SVCB records, said not to be there: h3 and ECH are not for us
};

class NameServer {
 public:
  // Errors: InvalidArgument, no socket; those of setsockopt(); Exhausted, no descriptor or thread.
  [[nodiscard]] static Result<std::unique_ptr<NameServer>> start(NameServerOptions options);
  // Ends at once, but for a look at the tape that is under way; who still waits for an answer gets none.
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  [[nodiscard]] NameCounts counts() const;  // any thread

 private:
  struct Impl;
  explicit NameServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tapdeck::names
