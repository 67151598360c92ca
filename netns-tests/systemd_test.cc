// A real systemd (in a podman container) starts, watches, restarts and stops the installed service.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/container.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/eventually.h"

namespace tapdeck::lab {
namespace {

using ::testing::HasSubstr;

// The installed tree and the shared libraries of the binary, to be mounted into the container.
class Systemd : public ::testing::Test {
 protected:
  Systemd() {
    const auto tree = lab_.directory() / "tree";
    const auto script = "set -e; mkdir -p " + tree.string() + "/lib; DESTDIR=" + tree.string() +
                        " cmake --install " TAPDECK_BUILD " --prefix /usr/local >/dev/null; ldd " +
                        tapdeck_binary().string() +
                        " | awk '$3 ~ /^\\// { print $3 }' | grep -vE "
                        "'/(libc|libm|libpthread|libdl|librt|ld-linux)[.-]' | xargs -I{} cp -L {} " +
                        tree.string() + "/lib/; test -x " + tree.string() + "/usr/local/bin/tapdeck";
    const auto prepared = run_to_end({"sh", "-c", script});
    EXPECT_EQ(prepared.status, 0) << prepared.err;
    ContainerOptions options{.role = "systemd", .rootfs = "systemd", .command = {"/sbin/init"}};
    options.flags = {"--systemd=always", "--privileged", "-v", tree.string() + ":/tree:ro"};
    container_ = std::make_unique<Container>(lab_, options);
    EXPECT_TRUE(eventually(60s, [&] {
      const auto state = sh("systemctl is-system-running || true").out;
      return state.starts_with("running") || state.starts_with("degraded");
    }));
    const auto installed = sh(
        "cp -a /tree/usr/. /usr/ && { [ ! -d /tree/etc ] || cp -a /tree/etc/. /etc/; } && mkdir -p /usr/local/lib/td &&"
        " cp /tree/lib/* /usr/local/lib/td/ && echo /usr/local/lib/td > /etc/ld.so.conf.d/td.conf && ldconfig &&"
        " { systemd-sysusers; systemd-tmpfiles --create; systemctl daemon-reload; }");
    EXPECT_EQ(installed.status, 0) << installed.out << installed.err;
  }

  Output sh(const std::string& script) const { return container_->exec({"sh", "-c", script}); }
  [[nodiscard]] std::string property(const std::string& name) const {
    return sh("systemctl show -P " + name + " tapdeck.service").out;
  }
  [[nodiscard]] std::string journal() const {
    return sh("systemctl status tapdeck.service --no-pager -l; journalctl -u tapdeck --no-pager | tail -60").out;
  }

  Topology lab_;
  std::unique_ptr<Container> container_;
};

TEST_F(Systemd, StartsServesAndStopsCleanly) {
  ASSERT_EQ(sh("systemctl start tapdeck.service").status, 0) << journal();
  EXPECT_EQ(property("ActiveState"), "active\n");
  EXPECT_EQ(sh("curl -fsS http://127.0.0.1:9909/readyz").status, 0) << journal();
  EXPECT_EQ(sh("systemctl stop tapdeck.service").status, 0);
  EXPECT_EQ(property("Result"), "success\n") << journal();
  EXPECT_EQ(property("ActiveState"), "inactive\n");
}

TEST_F(Systemd, RestartsAfterAKillAndAfterAHang) {
  ASSERT_EQ(sh("systemctl start tapdeck.service").status, 0) << journal();
  EXPECT_NE(property("WatchdogUSec"), "0\n");
  std::string before = property("MainPID");
  for (const auto* signal : {"KILL", "STOP"}) {  // a stopped process misses the watchdog
    sh(std::string("kill -") + signal + " " + before);
    EXPECT_TRUE(eventually(90s, [&] { return property("MainPID") != before && property("ActiveState") == "active\n"; }))
        << signal << journal();
    before = property("MainPID");
  }
  EXPECT_EQ(sh("curl -fsS http://127.0.0.1:9909/readyz").status, 0) << journal();
}

}  // namespace
}  // namespace tapdeck::lab
