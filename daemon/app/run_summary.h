// What a run did, as its last lines on stderr and as the JSON of --summary.
// Thread: any; values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/base/result.h"
#include "daemon/base/unique_fd.h"
#include "daemon/base/vocabulary.h"
#include "daemon/server/misses.h"

namespace tapdeck::app {

// A flow that sealing refused.
struct RefusedFlow {
  uint32_t pid = 0;
  std::string comm;
  std::string protocol;     // "tcp", "udp"
  std::string destination;  // "192.0.2.1:443"
  std::string name;         // host name, as far as DNS or SNI told; else empty
};

struct RunSummary {
  std::string session;        // where the recordings are
  std::string asked_session;  // --session, when another may have become of it; empty: the same
  Mode mode = Mode::Record;
  uint64_t take = 0;  // 0: nothing was recorded or noted, or the store's owner has not taken it in yet
  uint64_t recorded = 0;
  uint64_t failed_recorded = 0;  // of `recorded`: the origin was not reached, or failed; replay gives that back
  uint64_t replayed = 0;
  uint64_t missed = 0;
  std::vector<server::MissedRequest> misses;  // of `missed`, at most Misses::kKept different ones
  uint64_t tunnelled = 0;
  uint64_t tunnels_failed = 0;       // connections that would have been, had their origin been reached
  uint64_t forwarded = 0;            // to the origin without being recorded: passthrough, on_miss, bodies over a bound
  uint64_t refused_as_recorded = 0;  // connections, by connect() itself or by a reset: nothing is wrong
  uint64_t ca_rejected = 0;  // TLS connections whose client refused the certificate made for it, or left when shown it
  uint64_t tls_failed = 0;   // TLS connections whose client could not agree with us on how to speak
  uint64_t lost = 0;         // exchanges that passed and are not on tape, because the store failed or did not keep up
  uint64_t names_lost = 0;   // answers of resolvers that passed and are not on tape
  std::map<std::string, uint64_t> uncaptured;  // flows by reason; left_cgroup: processes
  std::vector<RefusedFlow> refused;
  std::map<std::string, uint64_t> refused_unlisted;  // of `uncaptured`, refused with nobody there to list them
  std::string capture;                               // the path: "cgroup"; empty: nothing was captured
  int exit = 0;       // the status tapdeck itself ends with; 128 + signal when it dies of one
  std::string error;  // why the command did not begin, or what was ours to do failed; empty: neither
};

// Of `lost`, those that were merely not safe when their response left are recorded after all: `written` are on tape.
void count_late(RunSummary& summary, uint64_t written);
// All reasons together, processes that left too.
[[nodiscard]] uint64_t uncaptured_flows(const RunSummary& summary);
// "tapdeck: session S: R recorded, H replayed, M missed, T tunnelled, U not captured" (connections), without a newline:
// the same for scripts in every mode.
[[nodiscard]] std::string summary_line(const RunSummary& summary);
// "tapdeck: also: L LOST, A answers to names NOT recorded, D of the recorded failed at the origin, T to be tunnelled
// failed at the origin, F forwarded, N refused as recorded, C did not trust the CA", a line of those there are.
[[nodiscard]] std::string also_line(const RunSummary& summary);
// Why the recordings are in another session than was asked for, a line; empty: they are not.
[[nodiscard]] std::string other_session_line(const RunSummary& summary);
// "tapdeck: missed: GET https://a/ (nearest 24: differs in query)", a line each, at most five and how many more. Empty:
// nothing was.
[[nodiscard]] std::string miss_lines(const RunSummary& summary);
// What was refused and to whom, a line each, alike ones once, at most five and how many more; where DNS was asked, what
// that may be about. Empty: nothing.
[[nodiscard]] std::string refusal_lines(const RunSummary& summary);
// That processes went where nothing of theirs is captured, and what helps, a line. Empty: none.
[[nodiscard]] std::string departure_line(const RunSummary& summary);
// One object and a newline; bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string summary_json(const RunSummary& summary);

// Where --summary goes. Opened before the command starts, so that a name that cannot be written is told in time; what
// is there is written over in place, and may be a device or a pipe. A file that we were handed open for writing, as
// standard output that leads to a log, is written on.
class SummaryFile {
 public:
  // An empty path: nowhere; "-": standard output. Errors: those of open(2).
  static Result<SummaryFile> open(const std::string& path);
  Result<void> write(std::string_view text) const;

 private:
  UniqueFd fd_;
  bool goes_on_ = false;  // behind what others write there
};

}  // namespace tapdeck::app
