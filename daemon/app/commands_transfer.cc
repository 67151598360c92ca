// Sessions as files: export and import.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "daemon/app/command_answer.h"
#include "daemon/base/unique_fd.h"
#include "daemon/base/whole_file.h"

namespace tapdeck::app {

namespace {

std::string absolute_path(const std::filesystem::path& file) {
  std::error_code error;
  const auto path = std::filesystem::absolute(file, error);
  return error ? file.string() : path.string();
}

}  // namespace

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
    auto written = write_all(out.get(), {buffer.data(), static_cast<size_t>(n)});
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
