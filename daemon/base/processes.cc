#include "daemon/base/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace tapdeck {
namespace {

// A process as proc(5) numbers the fields of /proc/PROCESS/stat, from the third on.
class Stat {
 public:
  explicit Stat(const std::string& process) {
    std::ifstream file("/proc/" + process + "/stat");
    std::string text;
    std::getline(file, text, '\0');
    // The name before them may hold spaces and brackets.
    const size_t bracket = text.rfind(')');
    if (bracket != std::string::npos) fields_ = text.substr(bracket + 1);
  }
  [[nodiscard]] bool exists() const { return !fields_.empty(); }
  // A zombie whose main thread alone has ended lives on in its others.
  [[nodiscard]] bool is_dead() const {
    const std::string state = word(3);
    return state == "X" || (state == "Z" && number(20) <= 1);
  }
  [[nodiscard]] uint64_t number(int field) const { return std::strtoull(word(field).c_str(), nullptr, 10); }

 private:
  [[nodiscard]] std::string word(int field) const {
    std::istringstream in(fields_);
    std::string found;
    for (int at = 3; at <= field; ++at) in >> found;
    return in ? found : std::string();
  }

  std::string fields_;
};

}  // namespace

bool is_alive(int pid) {
  if (::kill(pid, 0) != 0 && errno == ESRCH) return false;
  const Stat stat(std::to_string(pid));
  return !stat.exists() || !stat.is_dead();
}

uint64_t stat_field(const std::string& process, int number) {
  const Stat stat(process);
  return stat.exists() && !stat.is_dead() ? stat.number(number) : 0;
}

uint64_t start_time(int pid) {
  return stat_field(std::to_string(pid), 22);
}

UniqueFd hold(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

bool is_held(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno != ENOENT && errno != ENOTDIR;
  return ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0;
}

}  // namespace tapdeck
