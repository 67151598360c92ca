// Sessions, recordings, targets, mode and status: what the admin API also offers.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "daemon/app/command_answer.h"
#include "daemon/app/commands.h"
#include "daemon/app/open_control.h"
#include "daemon/app/output.h"
#include "daemon/base/units.h"
#include "store/exchange_store.h"

namespace tapdeck::app {
namespace {

// How long it holds what was said of a target, to be put behind it.
std::string lasts(const Json& target) {
  if (target.value("configured", false))
    return " until the daemon's next start, which goes by [[targets]] of the configuration again";
  return target.value("kept", true) ? "" : " until the daemon ends";
}

// Every page of the sessions as one list: there are never so many that a person would want pages.
Result<admin::Json> all_sessions(admin::Control& control) {
  Json all = {{"items", Json::array()}, {"next", nullptr}};
  admin::Page page{.cursor = "", .limit = 1000};
  while (true) {
    TRY(text, control.sessions(page));
    Json part = parsed(text);
    for (Json& item : part["items"]) all["items"].push_back(std::move(item));
    if (!part["next"].is_string()) return dump(all);
    page.cursor = part["next"].get<std::string>();
  }
}

}  // namespace

int session_list(const Common& common, Streams streams) {
  return list(common, streams, "reading sessions",
              {{"NAME", "name"},
               {"ACTIVE", "active"},
               {"TAKES", "takes"},
               {"RECORDINGS", "recordings"},
               {"BYTES", "bytes"},
               {"LAST RECORDED", "last_recorded"}},
              all_sessions);
}

int session_show(const Common& common, const SessionArgs& args, Streams streams) {
  return answer(
      common, streams, Need::Read, "reading session", [&](auto& c) { return c.session(args.name); },
      [&](const Json& json) { print_fields(streams, json); });
}

int session_create(const Common& common, const SessionArgs& args, Streams streams) {
  return answer(
      common, streams, Need::Write, "creating session", [&](auto& c) { return c.create_session(args.name); },
      [&](const Json&) { streams.out << "created session " << args.name << '\n'; });
}

int session_activate(const Common& common, const SessionArgs& args, Streams streams) {
  if (args.of_daemon) return target_follow(common, admin::Own::Session, args.target, streams);
  return answer(
      common, streams, Need::Write, "activating session",
      [&](auto& c) { return c.activate_session(args.name, args.target); },
      [&](const Json& json) {
        streams.out << "session " << args.name << " is active"
                    << (args.target.empty()
                            ? ": 'tapdeck serve' uses it for targets that name none; runs take --session"
                            : " for " + args.target + lasts(json))
                    << '\n';
      });
}

int session_rewind(const Common& common, const SessionArgs& args, Streams streams) {
  return answer(
      common, streams, Need::Daemon, "rewinding session",
      [&](auto& c) { return c.rewind_session(args.name, args.target); },
      [&](const Json& json) {
        if (json["done"] == "nothing") {
          streams.out << "there is nothing to rewind: no daemon runs, and every run begins at the first recording\n";
        } else {
          streams.out << "session " << args.name << " replays from its first recording\n";
        }
      });
}

int session_delete(const Common& common, const SessionArgs& args, Streams streams) {
  if (!args.yes && ::isatty(0) != 0) {
    streams.err << "Delete session '" << args.name << "' and its recordings? Type its name: " << std::flush;
    std::string typed;
    if (!std::getline(std::cin, typed) || typed != args.name) {
      streams.err << "tapdeck: not deleted\n";
      return 1;
    }
  }
  return answer(
      common, streams, Need::Write, "deleting session", [&](auto& c) { return c.delete_session(args.name); },
      [&](const Json& json) {
        streams.out << "deleted session " << args.name;
        if (json.contains("active")) streams.out << "; the active one is '" << cell_of(json["active"]) << "' again";
        streams.out << '\n';
      });
}

namespace {

// A search answers after so many recordings, found or not, so that it holds nobody up: here it goes on until it finds.
Result<admin::Json> first_page(admin::Control& control, const RecordingArgs& args) {
  admin::Page page = args.page;
  while (true) {
    auto result = control.recordings(args.filter, page);
    if (!result) return result;
    const Json json = parsed(*result);
    if (!json["items"].empty() || !json["next"].is_string()) return result;
    page.cursor = json["next"].get<std::string>();
  }
}

}  // namespace

int recording_list(const Common& common, const RecordingArgs& args, Streams streams) {
  return list(common, streams, "searching recordings",
              {{"ID", "id"},
               {"TIME", "time"},
               {"SESSION", "session"},
               {"METHOD", "method"},
               {"STATUS", "status"},
               {"OUTCOME", "outcome"},
               {"BYTES", "bytes"},
               {"MS", "milliseconds"},
               {"URL", "url"}},
              [&](auto& c) { return first_page(c, args); });
}

namespace {

void print_head(const Streams& streams, char mark, const Json& message, const std::string& first) {
  streams.out << mark << ' ' << first << '\n';
  for (const Json& field : message["headers"]) {
    streams.out << mark << ' ' << cell_of(field[0]) << ": " << (field[1] == "" ? "" : cell_of(field[1])) << '\n';
  }
  streams.out << mark << " (" << human_size(message["body"]["bytes"].get<uint64_t>()) << " body)\n";
  for (const Json& field : message["trailers"]) {
    streams.out << mark << " trailer " << cell_of(field[0]) << ": " << cell_of(field[1]) << '\n';
  }
}

void print_messages(const Streams& streams, const Json& json) {
  if (!json.contains("messages")) return;
  for (const Json& message : json["messages"]) {
    streams.out << (message["from"] == "client" ? "> " : "< ") << cell_of(message["kind"]);
    if (message.contains("code")) streams.out << ' ' << cell_of(message["code"]);
    streams.out << " (" << human_size(message["bytes"].get<uint64_t>()) << ", " << cell_of(message["milliseconds"])
                << " ms)\n";
  }
  streams.out << '\n';
}

void print_recording(const Streams& streams, const Json& json) {
  Json summary = json;
  for (const char* part : {"request", "response", "informational", "provenance", "ended", "messages"})
    summary.erase(part);
  print_fields(streams, summary);
  streams.out << '\n';
  const Json& request = json["request"];
  print_head(streams, '>', request,
             cell_of(request["method"]) + " " + cell_of(request["target"]) + " " + cell_of(request["version"]));
  streams.out << '\n';
  const Json& response = json["response"];
  print_head(streams, '<', response,
             cell_of(response["version"]) + " " + cell_of(response["status"]) + " " + cell_of(response["reason"]));
  streams.out << '\n';
  print_messages(streams, json);
  print_fields(streams, json["provenance"]);
}

// Piece by piece from the store itself: a body may be longer than a daemon sends at once.
Result<void> stream_body(const Common& common, const RecordingArgs& args, std::ostream& out) {
  TRY(handle, ControlHandle::open(common, Need::ReadDirect));
  TRY(id, recording_id(args.id));
  TRY(found, handle.store()->get(id));
  const bool request = args.show == RecordingArgs::Show::RequestBody;
  return handle.store()->read_body(request ? found.request_body : found.response_body, [&out](std::string_view bytes) {
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return out.good();
  });
}

}  // namespace

int recording_show(const Common& common, const RecordingArgs& args, Streams streams) {
  if (args.show == RecordingArgs::Show::Everything) {
    return answer(
        common, streams, Need::Read, "reading recording", [&](auto& c) { return c.recording(args.id); },
        [&](const Json& json) { print_recording(streams, json); });
  }
  const auto streamed = stream_body(common, args, streams.out);
  if (streamed) return 0;
  if (streamed.error().code != Code::Permission) return print_error(common, streams, streamed.error());
  auto control = ControlHandle::open(common, Need::Read);
  if (!control) return print_error(common, streams, control.error());
  const bool request = args.show == RecordingArgs::Show::RequestBody;
  auto body =
      (*control)->recording_body(args.id, request ? admin::Control::BodyOf::Request : admin::Control::BodyOf::Response);
  if (!body) return print_error(common, streams, body.error());
  while (true) {
    const auto piece = body->next();
    if (!piece) return print_error(common, streams, piece.error());
    if (piece->empty()) return 0;
    streams.out.write(piece->data(), static_cast<std::streamsize>(piece->size()));
  }
}

int recording_delete(const Common& common, const RecordingArgs& args, Streams streams) {
  return answer(
      common, streams, Need::Write, "deleting recording", [&](auto& c) { return c.delete_recording(args.id); },
      [&](const Json&) { streams.out << "deleted recording " << args.id << '\n'; });
}

int mode_show(const Common& common, Streams streams) {
  return answer(
      common, streams, Need::Daemon, "asking the daemon", [](auto& c) { return c.mode(); },
      [&](const Json& json) {
        streams.out << "default: " << cell_of(json["mode"]) << ", session " << cell_of(json["session"]);
        if (!json.value("kept", true)) {
          streams.out << " (until the daemon ends: it could not be kept; the configured mode is "
                      << cell_of(json["configured"]) << ')';
        } else if (json.contains("configured") && json["configured"] != json["mode"])
          streams.out << " (kept over restarts; the configured mode is " << cell_of(json["configured"]) << ')';
        streams.out << '\n';
        print_table(streams, json["targets"],
                    {{"ID", "id"}, {"TARGET", "name"}, {"MODE", "mode"}, {"SESSION", "session"}});
      });
}

int mode_set(const Common& common, Mode mode, const std::string& target, Streams streams) {
  return answer(
      common, streams, Need::Daemon, "changing the mode", [&](auto& c) { return c.set_mode(mode, target); },
      [&](const Json& json) {
        streams.out << "mode of " << (target.empty() ? "the daemon" : target) << " is " << to_string(mode)
                    << (target.empty() ? ", over restarts too, until [proxy] mode in the configuration is changed"
                                       : lasts(json))
                    << '\n';
      });
}

int target_follow(const Common& common, admin::Own what, const std::string& target, Streams streams) {
  const std::string name = what == admin::Own::Mode ? "mode" : "session";
  return answer(
      common, streams, Need::Daemon, "changing the target", [&](auto& c) { return c.follow_daemon(what, target); },
      [&](const Json& json) {
        streams.out << name << " of " << target << " is the daemon's again: " << cell_of(json[name])
                    << (json.value("configured", false) ? lasts(json) : "") << '\n';
      });
}

int targets_list(const Common& common, Streams streams) {
  return list(
      common, streams, "asking the daemon",
      {{"ID", "id"},
       {"NAME", "name"},
       {"STATE", "state"},
       {"MODE", "mode"},
       {"SESSION", "session"},
       {"SEALED", "sealed"},
       {"CAPTURED", "captured"},
       {"TRUST", "trust"},
       {"GAPS", "gaps"},
       {"NOT CAPTURED", "uncaptured"},
       {"DETAIL", "detail"}},
      [](auto& c) { return c.targets(); }, Need::Daemon);
}

int target_attach(const Common& common, const admin::AttachRequest& request, Streams streams) {
  return answer(
      common, streams, Need::Daemon, "attaching", [&](auto& c) { return c.attach(request); },
      [&](const Json& json) {
        streams.out << cell_of(json["id"]) << '\n';  // alone on stdout: for scripts
        streams.err << "attached " << cell_of(json["display"]) << "; trust: " << cell_of(json["trust"]) << '\n';
        if (json.value("configured", false)) streams.err << "tapdeck: this holds" << lasts(json) << '\n';
      });
}

int target_detach(const Common& common, const std::string& target, Streams streams) {
  return answer(
      common, streams, Need::Daemon, "detaching", [&](auto& c) { return c.detach(target); },
      [&](const Json& json) {
        streams.out << "detached " << target;
        if (json.value("configured", false))
          streams.out << " until the daemon's next start, which attaches it again: it is in [[targets]] of the "
                         "configuration";
        else if (json.contains("detail"))
          streams.out << "; " << cell_of(json["detail"]);
        streams.out << '\n';
      });
}

int status_show(const Common& common, Streams streams) {
  return answer(
      common, streams, Need::Daemon, "asking the daemon", [](auto& c) { return c.status(); },
      [&](const Json& json) { print_fields(streams, json); });
}

}  // namespace tapdeck::app
