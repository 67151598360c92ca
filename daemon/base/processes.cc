#include "daemon/base/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>

namespace tapdeck {
namespace {

// Fields of /proc/PID/stat from the third on: the name before them may hold spaces and brackets.
std::istringstream stat_of(const std::string& process) {
  std::ifstream file("/proc/" + process + "/stat");
  std::string text;
  std::getline(file, text, '\0');
  const size_t bracket = text.rfind(')');
  return std::istringstream(bracket == std::string::npos ? std::string() : text.substr(bracket + 1));
}

bool is_dead_state(char state) {
  return state == 'Z' || state == 'X';
}

}  // namespace

bool is_alive(int pid) {
  if (::kill(pid, 0) != 0 && errno == ESRCH) return false;
  char state = 0;
  auto fields = stat_of(std::to_string(pid));
  return !(fields >> state) || !is_dead_state(state);
}

uint64_t stat_field(const std::string& process, int number) {
  auto fields = stat_of(process);
  char state = 0;
  if (!(fields >> state) || is_dead_state(state)) return 0;
  std::string skipped;
  for (int field = 4; field < number; ++field) fields >> skipped;
  uint64_t value = 0;
  fields >> value;
  return value;
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
