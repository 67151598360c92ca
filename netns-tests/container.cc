#include "netns-tests/container.h"

#include <unistd.h>

#include "netns-tests/lab_error.h"

namespace tapdeck::lab {

std::map<std::string, std::string> container_environment() {
  return {{"CONTAINERS_CONF", std::string(TAPDECK_LAB_SOURCE) + "/containers.conf"}};
}

Container::Container(Topology& lab, ContainerOptions options)
    : lab_(lab), name_("td-" + options.role + "-" + std::to_string(::getpid())) {
  const auto made =
      run_to_end({.argv = {std::string(TAPDECK_LAB_SOURCE) + "/make_rootfs", options.rootfs}}, std::chrono::minutes(4));
  if (made.status != 0) raise("make_rootfs: " + made.err);
  const auto rootfs = made.out.substr(0, made.out.find('\n')) + ":O";
  std::vector<std::string> argv = {"podman", "run", "-d", "--name", name_};
  for (const auto* host : {"v4.origin.test", "origin.test"}) {
    argv.insert(argv.end(), {"--add-host", std::string(host) + ":" + kOriginV4});
  }
  argv.insert(argv.end(), {"--add-host", std::string("v6.origin.test:") + kOriginV6});
  argv.insert(argv.end(), options.flags.begin(), options.flags.end());
  argv.insert(argv.end(), {"--rootfs", rootfs});
  argv.insert(argv.end(), options.command.begin(), options.command.end());
  const auto started = run_to_end({.argv = argv, .netns = &lab.gw(), .env = container_environment()});
  if (started.status != 0) {
    remove();
    raise("podman run: " + started.err);
  }
}

Container::~Container() {
  remove();
}

void Container::remove() const {
  ignore_status(run_to_end(
      {.argv = {"podman", "rm", "-f", "-t", "0", name_}, .netns = &lab_.gw(), .env = container_environment()}));
}

Output Container::exec(const std::vector<std::string>& argv, std::chrono::milliseconds deadline) const {
  std::vector<std::string> all = {"podman", "exec", name_};
  all.insert(all.end(), argv.begin(), argv.end());
  return run_to_end({.argv = all, .netns = &lab_.gw(), .env = container_environment()}, deadline);
}

Output Container::podman(std::vector<std::string> words) const {
  words.insert(words.begin(), "podman");
  words.push_back(name_);
  auto output = run_to_end({.argv = words, .netns = &lab_.gw(), .env = container_environment()});
  if (output.status != 0) raise("podman " + words[1] + ": " + output.err);
  return output;
}

}  // namespace tapdeck::lab
