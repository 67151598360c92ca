// Process: a child process inside a namespace, cgroup and hosts file of the lab; its whole process group dies with the
// object. Output goes to files, so nobody has to drain pipes. Start it from a thread that outlives it (PDEATHSIG).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tapdeck::lab {

class Cgroup;
class Namespace;

struct Output {
  int status = 0;  // exit status, or 128 + signal
  std::string out;
  std::string err;
};

struct ProcessOptions {
  std::vector<std::string> argv;
  const Namespace* netns = nullptr;  // nullptr: the test's own (nothing but tools belongs there)
  const Cgroup* cgroup = nullptr;
  std::map<std::string, std::string> env = {};  // added to the test's environment
  std::filesystem::path hosts_file = {};        // bound over /etc/hosts in a mount namespace of its own
  std::string input = {};                       // standard input
  std::optional<uid_t> user = std::nullopt;     // run as this user and group
};

class Process {
 public:
  // Returns when the program is running, in its cgroup and namespace. Throws LabError when it cannot be started; a
  // program that is not on PATH names its Debian package.
  explicit Process(const ProcessOptions& options);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running();
  void signal(int number);  // to the process alone
  // Status as in Output::status; nullopt when it still runs at the deadline.
  std::optional<int> wait(std::chrono::milliseconds deadline);
  [[nodiscard]] std::string out() const;
  [[nodiscard]] std::string err() const;

 private:
  void reap();

  std::filesystem::path directory_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// Runs to the end; a LabError when it takes longer than the deadline.
Output run_to_end(const ProcessOptions& options, std::chrono::milliseconds deadline = std::chrono::seconds(60));
Output run_to_end(const std::vector<std::string>& argv);
// For clean-up commands whose failure means there was nothing to clean.
inline void ignore_status(const Output& /*output*/) {}

// A directory below the system's temporary one, removed with the object.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

[[nodiscard]] std::string read_file(const std::filesystem::path& file);
void write_file(const std::filesystem::path& file, const std::string& text);

}  // namespace tapdeck::lab
