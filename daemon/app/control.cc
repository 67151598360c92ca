#include "daemon/app/control.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "daemon/app/body_search.h"
#include "daemon/app/json_view.h"
#include "daemon/app/kept_mode.h"
#include "daemon/base/log.h"
#include "daemon/config/config.h"
#include "store/exchange_store.h"

namespace tapdeck::app {

using admin::Page;

Result<uint64_t> recording_id(const std::string& text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id == 0) {
    return fail(Code::InvalidArgument, "'" + text + "' is not a recording id; `tapdeck recording list` shows them");
  }
  return id;
}

namespace {

// What the API sends of one body.
constexpr uint64_t kLongestBody = 64ULL << 20;
// A search of bodies goes on until it has looked at so many recordings, or so many bytes once decoded. Then it answers,
// found or not, with where to go on, so that a rare text does not hold everybody up for the whole store.
constexpr uint64_t kSearchedBytes = 256ULL << 20;
constexpr size_t kSearchedPages = 10;
constexpr size_t kSearchedAtOnce = 16;

// How many of these a search may take on with `bytes` left; one in any case.
size_t affordable(const std::vector<store::Recording>& items, uint64_t bytes) {
  size_t count = 0;
  for (uint64_t cost = 0; count < items.size(); ++count) {
    cost += most_looked_at(items[count]);
    if (cost > bytes && count > 0) break;
  }
  return count;
}

// The segments of a body, one after the other.
class StoredPieces {
 public:
  StoredPieces(const store::ExchangeStore& store, std::shared_ptr<const store::ExchangeStore::View> view,
               store::BodyRef body)
      : store_(store), view_(std::move(view)), body_(std::move(body)) {}

  Result<std::string> operator()() {
    if (!body_.inline_bytes.empty()) return std::exchange(body_.inline_bytes, {});
    if (next_ == body_.segments.size()) {
      view_.reset();
      return std::string();
    }
    store::BodyRef one;
    one.segments = {body_.segments[next_++]};
    one.size = one.segments.front().size;
    return store_.read_body(one, kLongestBody, view_.get());
  }

 private:
  const store::ExchangeStore& store_;
  std::shared_ptr<const store::ExchangeStore::View> view_;
  store::BodyRef body_;
  size_t next_ = 0;
};

}  // namespace

AppControl::AppControl(Parts parts) : parts_(std::move(parts)) {}

std::string AppControl::unreachable() const {
  const std::string who = "process " + std::to_string(parts_.unreachable_pid) + " uses " + parts_.state_dir.string();
  if (parts_.unreachable_socket.empty())
    return who + ", but its admin socket is not known; try again, or start it again";
  return who + ", but does not answer on its admin socket " + parts_.unreachable_socket + "; start it again";
}

std::unexpected<Error> AppControl::no_daemon(std::string_view what) const {
  if (parts_.unreachable_pid != 0) {
    return fail(Code::Unsupported, std::string(what) + " needs a daemon that answers: " + unreachable());
  }
  return fail(Code::Unsupported, std::string(what) + " needs a running daemon, and none uses " +
                                     parts_.state_dir.string() +
                                     "; start it: tapdeck serve (or systemctl start tapdeck)" +
                                     (::geteuid() == 0 ? "" : "; for the one of this host: sudo tapdeck ..."));
}

Defaults AppControl::defaults() const {
  if (parts_.runtime != nullptr) return parts_.runtime->defaults();
  Defaults out;
  if (parts_.config != nullptr) {
    const Mode configured = parts_.config->proxy.mode;
    out.mode = mode_of_next_start(parts_.mode_file, configured).value_or(configured);
  }
  if (parts_.store == nullptr) return out;
  if (auto active = parts_.store->active_session()) out.session = std::move(*active);
  return out;
}

admin::Readiness AppControl::readiness() {
  if (parts_.runtime != nullptr) return parts_.runtime->readiness();
  if (parts_.unreachable_pid != 0) return {.ready = false, .reason = unreachable()};
  return {.ready = false, .reason = "no daemon runs"};
}

Result<admin::Json> AppControl::status() {
  std::vector<store::SessionInfo> all;
  if (parts_.store != nullptr) {
    TRY(stored, parts_.store->list_sessions());
    all = std::move(stored);
  }
  const Defaults now = defaults();
  const admin::Readiness ready = readiness();
  Json out = {{"version", TAPDECK_VERSION},
              {"running", parts_.runtime != nullptr || parts_.unreachable_pid != 0},
              {"ready", ready.ready},
              {"reason", ready.reason},
              {"state_dir", parts_.state_dir.string()},
              {"session", now.session},
              {"sessions", all.size()},
              {"recordings", parts_.store == nullptr ? 0 : parts_.store->stored_recordings()},
              {"bytes", parts_.store == nullptr ? 0 : parts_.store->stored_bytes()}};
  if (parts_.unreachable_pid != 0) out["pid"] = parts_.unreachable_pid;
  if (parts_.runtime == nullptr) return dump(out);
  out["pid"] = ::getpid();
  out["mode"] = to_string(now.mode);
  out["uptime_seconds"] =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - started_).count();
  if (parts_.targets != nullptr) {
    const auto targets = parts_.targets->list();
    out["targets"] = targets.size();
    out["targets_attached"] = std::ranges::count(targets, TargetStatus::State::Attached, &TargetStatus::state);
    Json passing = Json::array();
    for (const TargetStatus& target : targets) {
      if (target.passes) passing.push_back(target.settings.shown() + ": " + target.detail);
    }
    if (!passing.empty()) out["targets_not_captured"] = std::move(passing);
    if (const std::string problem = parts_.targets->last_error(); !problem.empty()) out["targets_problem"] = problem;
  }
  if (parts_.metrics != nullptr) {
    const MetricsSnapshot snapshot = parts_.metrics->snapshot();
    double active = 0;
    for (size_t path = 0; path < kCapturePathCount; ++path) {
      active += snapshot.value(Metrics::active_gauge(static_cast<CapturePath>(path)));
    }
    std::array<uint64_t, kOutcomeCount> outcomes{};
    for (size_t i = 0; i < snapshot.requests.size(); ++i)
      outcomes[i / kCodeClasses % kOutcomeCount] += snapshot.requests[i];
    out["active_connections"] = static_cast<int64_t>(active);
    for (size_t i = 0; i < kOutcomeCount; ++i) out["requests"][to_string(static_cast<Outcome>(i))] = outcomes[i];
  }
  return dump(out);
}

Result<admin::Json> AppControl::sessions(const Page& page) {
  TRY(all, parts_.store->list_sessions());  // by name: the cursor is the last name of the page before
  Json out = {{"items", Json::array()}, {"next", nullptr}};
  for (const store::SessionInfo& info : all) {
    if (info.name <= page.cursor && !page.cursor.empty()) continue;
    if (out["items"].size() == page.limit) {
      out["next"] = out["items"].back()["name"];
      break;
    }
    out["items"].push_back(session_view(info));
  }
  return dump(out);
}

Result<admin::Json> AppControl::create_session(const std::string& name) {
  TRY(info, parts_.store->create_session(name));
  return dump(session_view(info));
}

Result<admin::Json> AppControl::delete_session(const std::string& name) {
  if (parts_.runtime != nullptr && parts_.runtime->defaults().session == name) {
    return fail(Code::Busy,
                "session '" + name + "' is in use; activate another one first: tapdeck session activate NAME");
  }
  // What a target goes on recording would be lost, and said to be recorded.
  for (const TargetStatus& target : all_targets()) {
    if (target.settings.session != name) continue;
    return fail(Code::Busy, "session '" + name + "' is in use by target '" + target.settings.shown() +
                                "'; detach it, or activate another session for it: tapdeck session activate NAME "
                                "--target " +
                                target.settings.shown());
  }
  TRY_VOID(parts_.store->delete_session(name));
  Json out = done_view("deleted", name);
  TRY(active, parts_.store->active_session());
  if (active == name) {
    TRY_VOID(parts_.store->activate_session({}));  // else the next daemon would make it anew
    out["active"] = "default";
  }
  return dump(out);
}

Result<admin::Json> AppControl::export_session(const std::string& name, const std::string& path) {
  if (path.empty()) return fail(Code::InvalidArgument, "the file to write is missing");
  TRY(info, parts_.store->export_session(name, path));
  Json out = session_view(info);
  out["file"] = path;
  return dump(out);
}

Result<admin::Json> AppControl::import_session(const std::string& name, const std::string& path) {
  if (path.empty()) return fail(Code::InvalidArgument, "the file to read is missing");
  TRY(result, parts_.store->import_session(path, name));
  if (result.too_old > 0 && parts_.runtime != nullptr) {
    log::warn("store.import_too_old", "imported recordings are older than storage.max_age and are removed next",
              {{"session", result.session}, {"too_old", result.too_old}, {"recordings", result.recordings}});
  }
  return dump({{"session", result.session},
               {"recordings", result.recordings},
               {"bytes", result.bytes},
               {"too_old", result.too_old}});
}

Result<admin::Json> AppControl::recordings(const admin::RecordingFilter& filter, const Page& page) {
  if (!filter.session.empty()) {
    TRY(info, parts_.store->session(filter.session));
    ignore(info, "a list of an unknown session is an error that names the nearest, not an empty list");
  }
  store::RecordingFilter wanted;
  wanted.session = filter.session;
  wanted.host = filter.host.value_or("");
  wanted.method = filter.method.value_or("");
  wanted.path_contains = filter.path_contains.value_or("");
  wanted.status = filter.status.value_or(0);
  wanted.text = filter.text.value_or("");
  std::string in_body;
  if (wanted.text.starts_with("body:")) std::swap(in_body, wanted.text);
  in_body.erase(0, std::min<size_t>(in_body.size(), 5));
  Json out = {{"items", Json::array()}, {"next", nullptr}};
  std::string cursor = page.cursor;
  uint64_t bytes = 0;
  size_t looked_at = 0;
  do {
    size_t wants = page.limit - out["items"].size();
    if (!in_body.empty()) wants = std::min(wants, kSearchedAtOnce);
    TRY(found, parts_.store->list_recordings(wanted, wants, cursor));
    const size_t fit = in_body.empty() ? found.items.size() : affordable(found.items, kSearchedBytes - bytes);
    if (fit < found.items.size()) {  // again, for the place to go on from
      wants = fit;
      TRY(fewer, parts_.store->list_recordings(wanted, wants, cursor));
      found = std::move(fewer);
    }
    for (const store::Recording& recording : found.items) {
      if (!in_body.empty() && !body_holds(*parts_.store, recording, in_body, bytes)) continue;
      out["items"].push_back(recording_row(recording));
    }
    looked_at += found.items.size() < wants ? page.limit : found.items.size();  // of many rows few passed the filter
    cursor = found.next;
  } while (!in_body.empty() && !cursor.empty() && out["items"].size() < page.limit &&
           looked_at < kSearchedPages * page.limit && bytes < kSearchedBytes);
  if (!cursor.empty()) out["next"] = cursor;
  return dump(out);
}

Result<admin::Json> AppControl::recording(const std::string& id) {
  TRY(number, recording_id(id));
  TRY(found, parts_.store->get(number));
  return dump(recording_view(found));
}

Result<admin::Pieces> AppControl::recording_body(const std::string& id, BodyOf which) {
  TRY(number, recording_id(id));
  auto view = parts_.store->hold();  // retention may remove it in between
  TRY(found, parts_.store->get(number, view.get()));
  store::BodyRef body = std::move(which == BodyOf::Request ? found.request_body : found.response_body);
  if (body.size > kLongestBody) {
    return fail(Code::TooLarge, "a body of " + std::to_string(body.size) + " bytes, and at most " +
                                    std::to_string(kLongestBody) + " are sent; `tapdeck recording show " + id +
                                    " --body` reads the store itself");
  }
  return admin::Pieces{.bytes = body.size, .next = StoredPieces(*parts_.store, std::move(view), std::move(body))};
}

Result<admin::Json> AppControl::delete_recording(const std::string& id) {
  TRY(number, recording_id(id));
  TRY_VOID(parts_.store->delete_recording(number));
  return dump(done_view("deleted", id));
}

}  // namespace tapdeck::app
