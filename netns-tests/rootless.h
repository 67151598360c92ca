// Rootless: `tapdeck run` as an ordinary user in the lab's client namespace. Thread: one.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "netns-tests/captured.h"

namespace tapdeck::lab {

inline constexpr uid_t kOrdinary = 54321;

class Rootless : public ::testing::Test {
 protected:
  Rootless() {
    // The build and the lab's files may lie where nobody else may look.
    ::chmod(lab_.directory().path().c_str(), 0755);
    binary_ = tapdeck_for_anyone(lab_.directory());
    std::filesystem::create_directory(home());
    EXPECT_EQ(::chown(home().c_str(), kOrdinary, kOrdinary), 0);
    ::chmod(lab_.ca().certificate().c_str(), 0644);
    ::chmod(lab_.hosts_file().c_str(), 0644);
  }
  [[nodiscard]] std::string home() const { return lab_.directory() / "home"; }
  [[nodiscard]] std::vector<std::string> argv(std::vector<std::string> flags, const std::vector<std::string>& command) {
    std::vector<std::string> out = {binary_, "run", "--upstream-ca", lab_.ca().certificate()};
    out.insert(out.end(), flags.begin(), flags.end());
    out.push_back("--");
    out.insert(out.end(), command.begin(), command.end());
    return out;
  }
  [[nodiscard]] ProcessOptions ordinary(std::vector<std::string> words) {
    ProcessOptions options = seated({.lab = lab_}, std::move(words));
    options.user = kOrdinary;
    options.env["HOME"] = home();
    return options;
  }
  Output run(const std::vector<std::string>& flags, const std::vector<std::string>& command) {
    return run_to_end(ordinary(argv(flags, command)));
  }

  Topology lab_;
  std::string binary_;
};

}  // namespace tapdeck::lab
