// Control: what the admin API can ask of the rest of the program. admin/ speaks HTTP and knows nothing of stores,
// targets or modes; app/ implements this on top of them. The CLI uses the same answers when no daemon lives, so that
// both print the same.
//
// Answers are JSON texts (objects; lists are {"items":[...],"next":cursor|null}); errors are Error values, which the
// server turns into {"error":{...}} with a status by Code. Thread: one call at a time, but for readiness(), and for
// what only asks the store for recordings or moves sessions to and from files: names(), recordings(), recording(),
// recording_body() and its pieces, delete_recording(), export_session() and import_session() come one at a time from a
// thread of their own, beside a call of the others. They may take seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/admin/pieces.h"
#include "daemon/base/result.h"
#include "daemon/base/vocabulary.h"

namespace tapdeck::admin {

using Json = std::string;  // one JSON text

// Page of a list: `cursor` is the "next" of the page before; `limit` 1..1000.
struct Page {
  std::string cursor;
  uint32_t limit = 100;
};

// All given conditions must hold.
struct RecordingFilter {
  std::string session;                // empty: all
  std::optional<std::string> host;    // exact, case-insensitive
  std::optional<std::string> method;  // exact
  std::optional<std::string> path_contains;
  std::optional<int> status;
  std::optional<std::string> text;  // occurs in the URL or a header line, any case
};

// Exactly one selector is set.
struct AttachRequest {
  std::string kind;      // "container" | "pid" | "unit" | "cgroup" | "interface"
  std::string selector;  // name, pid, path
  std::string name;      // empty: from the selector
  std::optional<std::string> session;
  std::optional<Mode> mode;
  bool sealed = false;
};

enum class WithBody { No, Yes };

// What a target may have of its own, instead of the daemon's.
enum class Own { Mode, Session };

struct Readiness {
  bool ready = false;
  std::string reason;  // when not: what is missing
};

class Control {
 public:
  virtual ~Control() = default;

  [[nodiscard]] virtual Readiness readiness() = 0;
  [[nodiscard]] virtual Result<Json> status() = 0;

  [[nodiscard]] virtual Result<Json> sessions(const Page& page) = 0;
  [[nodiscard]] virtual Result<Json> session(const std::string& name) = 0;
  // What resolvers answered the clients of the session, by name and type.
  [[nodiscard]] virtual Result<Json> names(const std::string& session, const Page& page) = 0;
  virtual Result<Json> create_session(const std::string& name) = 0;
  virtual Result<Json> delete_session(const std::string& name) = 0;
  // Makes it the session of `target` (id or name), or the daemon's default when empty.
  virtual Result<Json> activate_session(const std::string& name, const std::string& target) = 0;
  // Resets replay cursors of the session; of one target when given.
  virtual Result<Json> rewind_session(const std::string& name, const std::string& target) = 0;
  // One file of the whole session, written to `path` by the owner of the store (0600, must not exist).
  virtual Result<Json> export_session(const std::string& name, const std::string& path) = 0;
  virtual Result<Json> import_session(const std::string& name, const std::string& path) = 0;

  [[nodiscard]] virtual Result<Json> recordings(const RecordingFilter& filter, const Page& page) = 0;
  [[nodiscard]] virtual Result<Json> recording(const std::string& id) = 0;
  // The stored response (or request) body, as its wire bytes. What it gives must not outlive this.
  enum class BodyOf { Request, Response };
  [[nodiscard]] virtual Result<Pieces> recording_body(const std::string& id, BodyOf which) = 0;
  virtual Result<Json> delete_recording(const std::string& id) = 0;

  [[nodiscard]] virtual Result<Json> mode() = 0;
  virtual Result<Json> set_mode(Mode mode, const std::string& target) = 0;

  [[nodiscard]] virtual Result<Json> targets() = 0;
  // Answers the target with its id. Attaching the same selector again updates it.
  virtual Result<Json> attach(const AttachRequest& request) = 0;
  virtual Result<Json> detach(const std::string& id) = 0;
  // The target (id or name) has none of its own any more: it follows the daemon's.
  virtual Result<Json> follow_daemon(Own what, const std::string& target) = 0;
};

}  // namespace tapdeck::admin
