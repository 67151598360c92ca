#include "netns-tests/nghttpd_origin.h"

#include <signal.h>

#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"

namespace tapdeck::lab {

NghttpdOrigin::NghttpdOrigin(Topology& lab, const std::map<std::string, std::string>& files) {
  const auto root = lab.directory() / "nghttpd";
  std::filesystem::create_directories(root);
  for (const auto& [name, content] : files) write_file(root / name, content);
  const auto start = [&](std::vector<std::string> argv) {
    return std::make_unique<Process>(ProcessOptions{.argv = std::move(argv), .netns = &lab.origin()});
  };
  tls_ = start({"nghttpd", "-d", root, "443", lab.leaf().key, lab.leaf().certificate});
  clear_ = start({"nghttpd", "--no-tls", "-d", root, "8080"});
  const auto asks = [&](const std::vector<std::string>& options) {
    std::vector<std::string> argv = {"curl", "-sk", "-o", "/dev/null"};
    argv.insert(argv.end(), options.begin(), options.end());
    return run_to_end({.argv = argv, .netns = &lab.origin()}).status == 0;
  };
  const bool up = eventually(10s, [&] {
    return asks({"--http2", "https://10.77.2.2/"}) && asks({"--http2-prior-knowledge", "http://10.77.2.2:8080/"});
  });
  if (!up) raise("nghttpd did not start: " + tls_->err() + clear_->err());
}

void NghttpdOrigin::stop() {
  for (Process* process : {tls_.get(), clear_.get()}) {
    process->signal(SIGKILL);
    if (!process->wait(5s)) raise("nghttpd did not stop");
  }
}

std::string h2_suite(const std::string& tool) {
  const std::string binary = "/var/cache/tapdeck-test/h2spec/" + tool;
  // Go's own cache makes this cheap when nothing changed.
  const auto built = run_to_end({.argv = {"env", "--chdir=" + std::string(TAPDECK_LAB_SOURCE) + "/h2spec", "go",
                                          "build", "-o", binary, "github.com/summerwind/h2spec/cmd/" + tool},
                                 .env = {{"GOTOOLCHAIN", "local"},
                                         {"GOFLAGS", "-mod=mod"},
                                         {"GO111MODULE", "on"},
                                         {"GOPATH", "/var/cache/tapdeck-test/gopath"},
                                         {"GOCACHE", "/var/cache/tapdeck-test/go"}}},
                                std::chrono::minutes(4));
  if (built.status != 0) raise("go build of " + tool + ": " + built.err);
  return binary;
}

}  // namespace tapdeck::lab
