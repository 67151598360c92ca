#include "netns-tests/process.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "netns-tests/cgroup.h"
#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"
#include "netns-tests/namespace.h"

namespace tapdeck::lab {
namespace {

// Program on PATH -> the Debian package that brings it; all are in .ci/packages.
const std::map<std::string, std::string> kPackages = {
    {"curl", "curl"},           {"wget", "wget"},         {"python3", "python3"}, {"node", "nodejs"},
    {"go", "golang-go"},        {"nginx", "nginx-light"}, {"podman", "podman"},   {"prometheus", "prometheus"},
    {"promtool", "prometheus"}, {"openssl", "openssl"},   {"ip", "iproute2"},     {"debootstrap", "debootstrap"}};

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  std::istringstream path(std::string(std::getenv("PATH") ? std::getenv("PATH") : "") + ":/usr/sbin:/sbin");
  for (std::string folder; std::getline(path, folder, ':');) {
    if (::access((folder + "/" + name).c_str(), X_OK) == 0) return folder + "/" + name;
  }
  const auto package = kPackages.find(name);
  raise(name + " is not installed: apt-get install " + (package == kPackages.end() ? name : package->second));
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    all[text.substr(0, text.find('='))] = text.substr(text.find('=') + 1);
  }
  for (const auto& [name, value] : added) all[name] = value;
  std::vector<std::string> list;
  for (const auto& [name, value] : all) list.push_back(name + "=" + value);
  return list;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (auto& text : strings) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

// What the child needs, prepared before fork: after it only async-signal-safe calls are allowed.
struct Child {
  const char* program;
  char** argv;
  char** env;
  int in, out, err;
  int netns, cgroup_procs;
  const char* hosts;
  std::optional<uid_t> user;

  [[noreturn]] void fail(const char* step) const {
    const char* reason = std::strerror(errno);  // NOLINT(concurrency-mt-unsafe): the child has one thread
    const auto say = [](const char* text) { return ::write(2, text, std::strlen(text)); };
    if (say("lab: ") < 0 || say(step) < 0 || say(": ") < 0 || say(reason) < 0) ::_exit(125);
    ::_exit(125);
  }

  [[noreturn]] void run() const {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    if (::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0) ::_exit(125);
    if (cgroup_procs >= 0 && ::write(cgroup_procs, "0", 1) != 1) fail("enter cgroup");
    if (netns >= 0 && ::setns(netns, CLONE_NEWNET) != 0) fail("enter network namespace");
    if (hosts != nullptr) {
      if (::unshare(CLONE_NEWNS) != 0) fail("unshare mounts");
      if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) fail("private mounts");
      if (::mount(hosts, "/etc/hosts", nullptr, MS_BIND, nullptr) != 0) fail("bind /etc/hosts");
    }
    // What the test itself was started with is not the child's: its tables are as small as a shell's.
    if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) fail("close what was inherited");
    if (user && (::setgroups(0, nullptr) != 0 || ::setgid(*user) != 0 || ::setuid(*user) != 0)) fail("become user");
    ::execve(program, argv, env);
    fail(program);
  }
};

}  // namespace

Process::Process(const ProcessOptions& options) {
  const auto program = find_program(options.argv.at(0));
  auto argv_text = options.argv;
  auto env_text = merged_environment(options.env);
  auto argv = pointers(argv_text);
  auto env = pointers(env_text);
  TempDir scratch;  // only for its unique name: the directory is ours from here on
  directory_ = scratch.path().string() + ".p";
  std::filesystem::create_directory(directory_);
  write_file(directory_ / "in", options.input);
  const auto open_in = [&](const char* name, int flags) {
    UniqueFd fd(::open((directory_ / name).c_str(), flags | O_CLOEXEC, 0644));
    if (!fd) raise_errno(std::string("open ") + name);
    return fd;
  };
  const auto in = open_in("in", O_RDONLY);
  const auto out = open_in("out", O_WRONLY | O_CREAT | O_APPEND);
  const auto err = open_in("err", O_WRONLY | O_CREAT | O_APPEND);
  UniqueFd procs;
  if (options.cgroup != nullptr) {
    procs = UniqueFd(::open((options.cgroup->path() / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!procs) raise_errno("open cgroup.procs of " + options.cgroup->path().string());
  }
  const Child child{program.c_str(),
                    argv.data(),
                    env.data(),
                    in.get(),
                    out.get(),
                    err.get(),
                    options.netns != nullptr ? options.netns->fd() : -1,
                    procs.get(),
                    options.hosts_file.empty() ? nullptr : options.hosts_file.c_str(),
                    options.user};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) raise_errno("pipe");
  const UniqueFd begun(ends[0]);
  UniqueFd beginning(ends[1]);  // closed by the child's exec, or its end
  pid_ = ::fork();
  if (pid_ == 0) child.run();
  if (pid_ < 0) raise_errno("fork");
  ::setpgid(pid_, pid_);
  beginning.reset();
  char none = 0;
  while (::read(begun.get(), &none, 1) < 0 && errno == EINTR) {
  }
}

Process::~Process() {
  ::kill(-pid_, SIGKILL);
  if (!status_) {
    ::kill(pid_, SIGKILL);
    int raw = 0;
    ::waitpid(pid_, &raw, 0);
  }
  std::error_code none;
  std::filesystem::remove_all(directory_, none);
}

void Process::reap() {
  int raw = 0;
  if (!status_ && ::waitpid(pid_, &raw, WNOHANG) == pid_) {
    status_ = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
  }
}

bool Process::running() {
  reap();
  return !status_;
}

void Process::signal(int number) {
  if (running()) ::kill(pid_, number);
}

std::optional<int> Process::wait(std::chrono::milliseconds deadline) {
  static_cast<void>(eventually(deadline, [this] { return !running(); }));
  return status_;
}

std::string Process::out() const {
  return read_file(directory_ / "out");
}
std::string Process::err() const {
  return read_file(directory_ / "err");
}

Output run_to_end(const ProcessOptions& options, std::chrono::milliseconds deadline) {
  Process process(options);
  const auto status = process.wait(deadline);
  if (!status) raise(options.argv[0] + ": still running at its deadline; it said: " + process.err());
  return {*status, process.out(), process.err()};
}

Output run_to_end(const std::vector<std::string>& argv) {
  return run_to_end(ProcessOptions{.argv = argv});
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "td-lab-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) raise_errno("mkdtemp " + name);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code none;
  if (std::getenv("TAPDECK_LAB_KEEP") == nullptr) std::filesystem::remove_all(path_, none);
}

std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << text << std::flush;
  if (!out) raise("cannot write " + file.string());
}

}  // namespace tapdeck::lab
