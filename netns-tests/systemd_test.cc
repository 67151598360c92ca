// A real systemd (in a podman container) starts, watches, restarts and stops the installed service.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns-tests/container.h"
#include "netns-tests/daemon_process.h"
#include "netns-tests/eventually.h"
#include "netns-tests/nginx_origin.h"

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
    options.flags = {"--systemd=always",          "--privileged", "-v",
                     tree.string() + ":/tree:ro", "-v",           lab_.ca().certificate().string() + ":/lab-ca.pem:ro"};
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

  void write_in_container(const std::string& file, const std::string& text) const {
    const auto written = sh("cat > " + file + " <<'END'\n" + text + "END\n");
    EXPECT_EQ(written.status, 0) << written.err;
  }

  Topology lab_;
  std::unique_ptr<Container> container_;
};

// The unit's few capabilities are enough for all of it: programs, listeners, trust in a mount namespace of another
// service, and a target that comes back with its unit.
TEST_F(Systemd, RecordsAndReplaysAnotherUnitWithItsFewCapabilities) {
  auto origin = std::make_unique<NginxOrigin>(lab_, std::map<std::string, std::string>{{"a.json", "{\"a\": 1}\n"}});
  write_in_container("/etc/tapdeck/tapdeck.toml", "[tls]\nupstream_ca = [\"/lab-ca.pem\"]\n");
  write_in_container("/etc/systemd/system/td-client.service",
                     "[Service]\nPrivateTmp=yes\nExecStart=/bin/sh -c 'until [ -e /go ]; do sleep 0.1; done; "
                     "curl -sS -i -m 20 https://origin.test/a.json > /out.new 2>&1; mv /out.new /out; "
                     "exec sleep infinity'\n");
  ASSERT_EQ(sh("systemctl daemon-reload && systemctl start tapdeck.service td-client.service").status, 0) << journal();
  const auto targets = [&] { return sh("tapdeck targets").out; };
  const auto answer = [&] {
    // Trust comes after the programs: once the unit sees it, everything is in place.
    EXPECT_TRUE(eventually(
        30s,
        [&] {
          return sh("grep -q /etc/ssl/certs /proc/$(systemctl show -P MainPID td-client.service)/mountinfo").status ==
                 0;
        }))
        << targets() << journal();
    sh("touch /go");
    EXPECT_TRUE(eventually(30s, [&] { return sh("test -e /out").status == 0; })) << journal();
    return sh("cat /out; rm -f /out /go").out;
  };
  const auto attached = sh("tapdeck attach --unit td-client.service --session s");
  ASSERT_EQ(attached.status, 0) << attached.err << journal();
  const auto recorded = answer();
  EXPECT_THAT(recorded, HasSubstr("{\"a\": 1}")) << targets() << journal();
  origin->stop();
  ASSERT_EQ(sh("tapdeck mode set replay --target td-client.service && systemctl restart td-client.service").status, 0);
  EXPECT_EQ(answer(), recorded) << targets() << journal();
}

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
