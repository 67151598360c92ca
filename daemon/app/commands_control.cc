// Sessions, recordings, targets, mode and status: what the admin API also offers.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "daemon/app/commands.h"
#include "daemon/app/open_control.h"
#include "daemon/app/output.h"
#include "daemon/base/units.h"
#include "daemon/trust/files.h"
#include "store/exchange_store.h"

namespace tapdeck::app {
namespace {

Json parsed(const std::string& text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// Asks, then prints: JSON as it came, else by `print`.
template <class Ask, class Print>
int answer(const Common& common, const Streams& streams, Need need, const std::string& what, Ask ask, Print print) {
  auto control = ControlHandle::open(common, need);
  if (!control) return print_error(common, streams, control.error());
  const Patience patience(streams, what);
  Result<admin::Json> result = ask(**control);
  if (!result) return print_error(common, streams, result.error());
  if (common.format == Format::Json) {
    streams.out << *result << (result->ends_with('\n') ? "" : "\n");
    return 0;
  }
  print(parsed(*result));
  return 0;
}

// An empty house is an empty list, not an error, for people and scripts alike.
template <class Ask>
int list(const Common& common, const Streams& streams, const std::string& what, std::initializer_list<Column> columns,
         Ask ask) {
  if (const auto config = config_for(common.config_file); !config) return print_error(common, streams, config.error());
  auto control = ControlHandle::open(common, Need::Read);
  if (!control && control.error().code == Code::NotFound) {
    if (common.format == Format::Json) {
      streams.out << "{\"items\":[],\"next\":null}\n";
    } else {
      streams.err << "tapdeck: " << control.error().message() << '\n';
    }
    return 0;
  }
  if (!control) return print_error(common, streams, control.error());
  const Patience patience(streams, what);
  Result<admin::Json> result = ask(**control);
  if (!result) return print_error(common, streams, result.error());
  if (common.format == Format::Json) {
    streams.out << *result << (result->ends_with('\n') ? "" : "\n");
    return 0;
  }
  const Json page = parsed(*result);
  print_table(streams, page["items"], columns);
  if (page["next"].is_string()) streams.err << "more: add --cursor " << page["next"].get<std::string>() << '\n';
  return 0;
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

std::string absolute_path(const std::filesystem::path& file) {
  std::error_code error;
  const auto path = std::filesystem::absolute(file, error);
  return error ? file.string() : path.string();
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
  return answer(
      common, streams, Need::Write, "activating session",
      [&](auto& c) { return c.activate_session(args.name, args.target); },
      [&](const Json&) {
        streams.out << "session " << args.name << " is active" << (args.target.empty() ? "" : " for " + args.target)
                    << '\n';
      });
}

int session_rewind(const Common& common, const SessionArgs& args, Streams streams) {
  return answer(
      common, streams, Need::Read, "rewinding session",
      [&](auto& c) { return c.rewind_session(args.name, args.target); },
      [&](const Json&) { streams.out << "session " << args.name << " replays from its first recording\n"; });
}

int session_delete(const Common& common, const SessionArgs& args, Streams streams) {
  if (!args.yes) {
    if (::isatty(0) == 0) {
      return print_error(common, streams,
                         {.code = Code::InvalidArgument,
                          .detail = "deleting session '" + args.name + "' cannot be undone; add --yes to do it"});
    }
    streams.err << "Delete session '" << args.name << "' and its recordings? Type its name: " << std::flush;
    std::string typed;
    if (!std::getline(std::cin, typed) || typed != args.name) {
      streams.err << "tapdeck: not deleted\n";
      return 1;
    }
  }
  return answer(
      common, streams, Need::Write, "deleting session", [&](auto& c) { return c.delete_session(args.name); },
      [&](const Json&) { streams.out << "deleted session " << args.name << '\n'; });
}

namespace {

// An export is known to be whole at its end only, so it goes by way of a file.
int export_to_output(const Common& common, const SessionArgs& args, Streams streams) {
  if (streams.terminal == Terminal::Yes) {
    return print_error(
        common, streams,
        Error{Code::InvalidArgument, "an export is not for a terminal; send it to a file or a pipe", Origin::Internal});
  }
  std::string directory = (std::filesystem::temp_directory_path() / "tapdeck-export-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) {
    return print_error(common, streams, fail_errno(errno, "make " + directory).error());
  }
  const std::string file = directory + "/session.tapdeck";
  Common plain = common;
  plain.format = Format::Text;
  std::error_code ignored;
  const int status = answer(
      plain, streams, Need::ReadDirect, "exporting session", [&](auto& c) { return c.export_session(args.name, file); },
      [&](const Json&) {
        std::ifstream whole(file, std::ios::binary);
        std::filesystem::remove_all(directory, ignored);  // a reader that goes away ends us (SIGPIPE)
        streams.out << whole.rdbuf() << std::flush;
      });
  std::filesystem::remove_all(directory, ignored);
  return status != 0 || streams.out ? status : 1;
}

}  // namespace

int session_export(const Common& common, const SessionArgs& args, Streams streams) {
  if (args.file == "-") return export_to_output(common, args, streams);
  const std::string file = absolute_path(args.file.empty() ? std::filesystem::path(args.name + ".tapdeck") : args.file);
  return answer(
      common, streams, Need::ReadDirect, "exporting session",
      [&](auto& c) { return c.export_session(args.name, file); },
      [&](const Json& json) {
        streams.out << "wrote " << cell_of(json["recordings"]) << " recordings of session " << args.name << " to "
                    << file << '\n';
      });
}

namespace {

// Also from what has no end to seek to.
Result<void> copy_to(const std::filesystem::path& staged, const std::string& from, const std::string& shown) {
  const UniqueFd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return fail_errno(errno, "read " + shown);
  const UniqueFd out(::open(staged.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return fail_errno(errno, "copy " + shown + " to " + staged.string());
  std::vector<char> buffer(1 << 18);
  while (true) {
    const ssize_t n = ::read(in.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, "read " + shown);
    if (n == 0) return {};
    auto written = trust::write_all(out.get(), {buffer.data(), static_cast<size_t>(n)});
    if (!written) return written;
  }
}

// Imports by way of the state directory when a daemon owns it: the service sees neither our /tmp nor our home.
Result<admin::Json> import_through(const ControlHandle& control, const SessionArgs& args) {
  if (!control.is_remote() && args.file != "-") return control->import_session(args.name, absolute_path(args.file));
  const std::filesystem::path staged = control.state_dir() / ("import-" + std::to_string(::getpid()) + ".tapdeck");
  const std::string shown = args.file == "-" ? "standard input" : args.file.string();
  std::error_code error;
  auto result = copy_to(staged, args.file == "-" ? "/dev/stdin" : args.file.string(), shown);
  auto imported = result ? control->import_session(args.name, staged.string()) : std::unexpected(result.error());
  std::filesystem::remove(staged, error);
  if (!imported) {
    std::string& detail = imported.error().detail;  // the copy is our business
    if (const size_t at = detail.find(staged.string()); at != std::string::npos) {
      detail.replace(at, staged.string().size(), shown);
    }
  }
  return imported;
}

}  // namespace

int session_import(const Common& common, const SessionArgs& args, Streams streams) {
  auto control = ControlHandle::open(common, Need::Write);
  if (!control) return print_error(common, streams, control.error());
  const Patience patience(streams, "importing session");
  const auto result = import_through(*control, args);
  if (!result) return print_error(common, streams, result.error());
  if (common.format == Format::Json) {
    streams.out << *result << (result->ends_with('\n') ? "" : "\n");
    return 0;
  }
  const Json json = parsed(*result);
  streams.out << "imported " << cell_of(json["recordings"]) << " recordings into session " << cell_of(json["session"])
              << '\n';
  return 0;
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
  const auto body =
      (*control)->recording_body(args.id, request ? admin::Control::BodyOf::Request : admin::Control::BodyOf::Response);
  if (!body) return print_error(common, streams, body.error());
  streams.out.write(body->data(), static_cast<std::streamsize>(body->size()));
  return 0;
}

int recording_delete(const Common& common, const RecordingArgs& args, Streams streams) {
  return answer(
      common, streams, Need::Write, "deleting recording", [&](auto& c) { return c.delete_recording(args.id); },
      [&](const Json&) { streams.out << "deleted recording " << args.id << '\n'; });
}

int mode_show(const Common& common, Streams streams) {
  return answer(
      common, streams, Need::Read, "asking the daemon", [](auto& c) { return c.mode(); },
      [&](const Json& json) {
        streams.out << "default: " << cell_of(json["mode"]) << ", session " << cell_of(json["session"]) << '\n';
        print_table(streams, json["targets"],
                    {{"ID", "id"}, {"TARGET", "name"}, {"MODE", "mode"}, {"SESSION", "session"}});
      });
}

int mode_set(const Common& common, Mode mode, const std::string& target, Streams streams) {
  return answer(
      common, streams, Need::Read, "changing the mode", [&](auto& c) { return c.set_mode(mode, target); },
      [&](const Json&) {
        streams.out << "mode of " << (target.empty() ? "the daemon" : target) << " is " << to_string(mode) << '\n';
      });
}

int targets_list(const Common& common, Streams streams) {
  return list(common, streams, "asking the daemon",
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
              [](auto& c) { return c.targets(); });
}

int target_attach(const Common& common, const admin::AttachRequest& request, Streams streams) {
  return answer(
      common, streams, Need::Read, "attaching", [&](auto& c) { return c.attach(request); },
      [&](const Json& json) {
        streams.out << cell_of(json["id"]) << '\n';  // alone on stdout: for scripts
        streams.err << "attached " << cell_of(json["display"]) << "; trust: " << cell_of(json["trust"]) << '\n';
      });
}

int target_detach(const Common& common, const std::string& target, Streams streams) {
  return answer(
      common, streams, Need::Read, "detaching", [&](auto& c) { return c.detach(target); },
      [&](const Json&) { streams.out << "detached " << target << '\n'; });
}

int status_show(const Common& common, Streams streams) {
  return answer(
      common, streams, Need::Read, "asking the daemon", [](auto& c) { return c.status(); },
      [&](const Json& json) { print_fields(streams, json); });
}

}  // namespace tapdeck::app
