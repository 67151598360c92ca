#include "daemon/app/host_trust.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "daemon/app/tool.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::app {
namespace {

namespace fs = std::filesystem;

// Where a distribution takes an administrator's roots from, and what makes it notice. Paths below the root.
struct Distribution {
  const char* anchors;
  const char* tool;
  const char* refresh_flag;  // after adding
  const char* remove_flag;   // after removing: Debian leaves the links of a file that is gone, unless told
};
constexpr std::array kDistributions = {
    Distribution{"usr/local/share/ca-certificates", "usr/sbin/update-ca-certificates", "", "--fresh"},
    Distribution{"etc/pki/ca-trust/source/anchors", "usr/bin/update-ca-trust", "extract", "extract"},
    Distribution{"etc/pki/trust/anchors", "usr/sbin/update-ca-certificates", "", ""},
    Distribution{"etc/ca-certificates/trust-source/anchors", "usr/bin/update-ca-trust", "extract", "extract"},
};

Result<const Distribution*> distribution_of(const fs::path& root) {
  for (const Distribution& one : kDistributions) {
    if (::access((root / one.tool).c_str(), X_OK) == 0 && fs::is_directory(root / one.anchors)) return &one;
  }
  return fail(Code::Unsupported,
              "no trust store of a known distribution here (Debian: install ca-certificates); take the certificate "
              "from `tapdeck ca export` and give it to the clients yourself");
}

fs::path file_of(const fs::path& root, const Distribution& distribution, std::string_view fingerprint) {
  return root / distribution.anchors / ("tapdeck-" + std::string(fingerprint.substr(0, 16)) + ".crt");
}

Result<void> refresh(const fs::path& root, const char* tool, const std::string& flag) {
  std::vector<std::string> argv = {(root / tool).string()};
  if (!flag.empty()) argv.push_back(flag);
  TRY(output, run_tool(argv, std::chrono::minutes(1)));
  if (output.status == 0) return {};
  return fail(Code::Io, argv.front() + " failed with status " + std::to_string(output.status) + ": " + output.err);
}

Result<void> write_whole(const fs::path& file, std::string_view text) {
  // Through a new file: a bundle rebuilt meanwhile never sees half a certificate.
  const fs::path next = file.string() + ".new";
  const UniqueFd fd(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd) return fail_errno(errno, "write " + next.string());
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(fd.get()) != 0 ||
      ::rename(next.c_str(), file.c_str()) != 0) {
    const int error = errno;
    ::unlink(next.c_str());
    return fail_errno(error, "write " + file.string());
  }
  return {};
}

}  // namespace

Result<fs::path> install_in_host(std::string_view pem, std::string_view fingerprint, const fs::path& root) {
  TRY(distribution, distribution_of(root));
  const fs::path file = file_of(root, *distribution, fingerprint);
  TRY_VOID(write_whole(file, pem));
  if (auto done = refresh(root, distribution->tool, distribution->refresh_flag); !done) {
    ::unlink(file.c_str());
    return std::unexpected(std::move(done).error());
  }
  return file;
}

Result<fs::path> remove_from_host(std::string_view fingerprint, const fs::path& root) {
  TRY(distribution, distribution_of(root));
  const fs::path file = file_of(root, *distribution, fingerprint);
  if (::unlink(file.c_str()) != 0) {
    if (errno == ENOENT) return fail(Code::NotFound, "this CA is not installed: there is no " + file.string());
    return fail_errno(errno, "remove " + file.string());
  }
  TRY_VOID(refresh(root, distribution->tool, distribution->remove_flag));
  return file;
}

}  // namespace tapdeck::app
