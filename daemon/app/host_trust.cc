#include "daemon/app/host_trust.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "daemon/app/tool.h"
#include "daemon/base/whole_file.h"

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

// Nothing: there is no such file.
std::optional<std::string> content_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

Result<fs::path> install_in_host(std::string_view pem, std::string_view fingerprint, const fs::path& root) {
  TRY(distribution, distribution_of(root));
  const fs::path file = file_of(root, *distribution, fingerprint);
  remove_unfinished(file);
  const std::optional<std::string> before = content_of(file);
  // A bundle rebuilt meanwhile never sees half a certificate.
  TRY_VOID(replace_file(file, pem, 0644, Sync::Content));
  if (auto done = refresh(root, distribution->tool, distribution->refresh_flag); !done) {
    if (!before) {
      ::unlink(file.c_str());
    } else if (*before != pem) {
      ignore(replace_file(file, *before, 0644, Sync::Content), "why the refresh failed is the one to report");
    }
    return std::unexpected(std::move(done).error());
  }
  return file;
}

Result<fs::path> remove_from_host(std::string_view fingerprint, const fs::path& root) {
  TRY(distribution, distribution_of(root));
  const fs::path file = file_of(root, *distribution, fingerprint);
  remove_unfinished(file);  // some distributions trust whatever lies there
  if (::unlink(file.c_str()) != 0) {
    if (errno == ENOENT) return fail(Code::NotFound, "this CA is not installed: there is no " + file.string());
    return fail_errno(errno, "remove " + file.string());
  }
  TRY_VOID(refresh(root, distribution->tool, distribution->remove_flag));
  return file;
}

}  // namespace tapdeck::app
