// Sessions as files: export and import.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "daemon/app/command_answer.h"
#include "daemon/app/transfer_files.h"
#include "daemon/base/unique_fd.h"
#include "store/transfer.h"

namespace tapdeck::app {

namespace {

std::string absolute_path(const std::filesystem::path& file) {
  std::error_code error;
  const auto path = std::filesystem::absolute(file, error);
  return error ? file.string() : path.string();
}

}  // namespace

namespace {

Result<void> export_into(const Common& common, const std::string& session, const Streams& streams, int file) {
  const Patience patience(streams, "exporting session");
  TRY(handle, ControlHandle::open(common, Need::ReadDirect));
  TRY(info, store::export_session_to(*handle.store(), session, UniqueFd(::fcntl(file, F_DUPFD_CLOEXEC, 0))));
  ignore(info, "the export says all of it");
  return {};
}

// An export is known to be whole at its end only, so it goes by way of a file.
int export_to_output(const Common& common, const SessionArgs& args, Streams streams) {
  if (streams.terminal == Terminal::Yes) {
    return print_error(
        common, streams,
        Error{Code::InvalidArgument, "an export is not for a terminal; send it to a file or a pipe", Origin::Internal});
  }
  Common plain = common;
  plain.format = Format::Text;
  std::error_code error;
  const auto directory = std::filesystem::temp_directory_path(error);
  const auto file = nameless_file(error ? "/tmp" : directory);
  const auto exported =
      file ? export_into(common, args.name, streams, file->get()) : Result<void>(std::unexpected(file.error()));
  if (!exported) return print_error(plain, streams, exported.error());
  std::vector<char> buffer(1 << 18);
  ::lseek(file->get(), 0, SEEK_SET);
  ssize_t n = 0;
  while (streams.out && ((n = ::read(file->get(), buffer.data(), buffer.size())) > 0 || (n < 0 && errno == EINTR))) {
    if (n > 0) streams.out.write(buffer.data(), n);
  }
  if (n < 0) return print_error(plain, streams, fail_errno(errno, "read the export again").error());
  streams.out << std::flush;
  return streams.out ? 0 : 1;
}

}  // namespace

namespace {

// What was there stays until the whole export takes its place.
Result<admin::Json> export_over(admin::Control& control, const std::string& session, const std::string& file) {
  std::error_code error;
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
    return fail(Code::InvalidArgument, file + " is no regular file; choose another");
  const std::string whole = file + ".unfinished-" + std::to_string(::getpid());
  ::unlink(whole.c_str());  // whoever had our process id was killed
  TRY(exported, control.export_session(session, whole));
  if (::rename(whole.c_str(), file.c_str()) != 0) {
    auto failed = fail_errno(errno, "replace " + file);
    ::unlink(whole.c_str());
    return failed;
  }
  Json out = parsed(exported);
  out["file"] = file;
  return dump(out);
}

Result<admin::Json> export_to(admin::Control& control, const std::string& session, const std::string& file) {
  auto exported = control.export_session(session, file);
  if (!exported && exported.error().code == Code::AlreadyExists)
    exported.error().detail += ", or replace it with --force";
  return exported;
}

}  // namespace

int session_export(const Common& common, const SessionArgs& args, Streams streams) {
  if (args.file == "-") return export_to_output(common, args, streams);
  const std::string file = absolute_path(args.file.empty() ? std::filesystem::path(args.name + ".tapdeck") : args.file);
  return answer(
      common, streams, Need::ReadDirect, "exporting session",
      [&](auto& c) { return args.force ? export_over(c, args.name, file) : export_to(c, args.name, file); },
      [&](const Json& json) {
        streams.out << "wrote " << cell_of(json["recordings"]) << " recordings of session " << args.name << " to "
                    << file << '\n';
      });
}

namespace {

// Imports by way of the state directory when a daemon owns it: the service sees neither our /tmp nor our home.
Result<admin::Json> import_through(const ControlHandle& control, const SessionArgs& args) {
  if (!control.is_remote() && args.file != "-") return control->import_session(args.name, absolute_path(args.file));
  const std::string shown = args.file == "-" ? "standard input" : args.file.string();
  remove_left_imports(control.state_dir());
  TRY(copy, StagedImport::copy_of(args.file == "-" ? "/dev/stdin" : args.file.string(), shown, control.state_dir()));
  const std::string staged = copy.path().string();
  auto imported = control->import_session(args.name, staged);
  if (!imported) {
    std::string& detail = imported.error().detail;  // the copy is our business
    if (const size_t at = detail.find(staged); at != std::string::npos) {
      detail.replace(at, staged.size(), shown);
    }
  }
  return imported;
}

}  // namespace

int session_import(const Common& common, const SessionArgs& args, Streams streams) {
  auto control = ControlHandle::open(common, Need::Write);
  if (!control) return print_error(common, streams, control.error());
  return ask_and_print(
      common, streams, *control, "importing session", [&](admin::Control&) { return import_through(*control, args); },
      [&](const Json& json) {
        streams.out << "imported " << cell_of(json["recordings"]) << " recordings into session "
                    << cell_of(json["session"]) << '\n';
        if (json.value("too_old", 0) == 0) return;
        streams.err << "tapdeck: " << cell_of(json["too_old"])
                    << " of them are older than storage.max_age: the daemon removes them\n";
      });
}

}  // namespace tapdeck::app
