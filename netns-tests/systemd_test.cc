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
using ::testing::Not;

// The installed tree and the shared libraries of the binary, to be mounted into the container.
class Systemd : public ::testing::Test {
 protected:
  Systemd() {
    const auto tree = lab_.directory() / "tree";
    const std::filesystem::path manifest = TAPDECK_BUILD "/install_manifest.txt";
    std::error_code absent;
    const auto before = std::filesystem::last_write_time(manifest, absent);
    const auto script =
        "set -e; mkdir -p " + tree.string() + "/lib; DESTDIR=" + tree.string() +
        // A component's manifest is a file of its own: that of the build directory is what `make uninstall` goes by.
        " cmake --install " TAPDECK_BUILD " --prefix /usr/local --component Unspecified >/dev/null; ldd " +
        tapdeck_binary().string() +
        " | awk '$3 ~ /^\\// { print $3 }' | grep -vE "
        "'/(libc|libm|libpthread|libdl|librt|ld-linux)[.-]' | xargs -I{} cp -L {} " +
        tree.string() + "/lib/; cp " TAPDECK_SOURCE "/.ci/uninstall " + tree.string() +
        "; mv " TAPDECK_BUILD "/install_manifest_Unspecified.txt " + tree.string() + "/install_manifest.txt; test -x " +
        tree.string() + "/usr/local/bin/tapdeck";
    const auto prepared = run_to_end({"sh", "-c", script});
    EXPECT_EQ(prepared.status, 0) << prepared.err;
    EXPECT_EQ(std::filesystem::last_write_time(manifest, absent), before) << "make uninstall goes by it";
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
        // In a container systemd does not mount it, on a host it does.
        " { mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; } &&"
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

// Its pins are on the host's bpffs, so that they outlive the unit's mount namespace.
TEST_F(Systemd, AReplayTargetStaysRefusedWhileTheKilledServiceIsDown) {
  const NginxOrigin origin(lab_, {{"a.json", "the origin's\n"}});
  write_in_container("/etc/systemd/system/td-client.service",
                     "[Service]\nExecStart=/bin/sh -c 'while :; do until [ -e /go ]; do sleep 0.1; done; "
                     "curl -sS -m 20 http://v4.origin.test/a.json > /out.new 2>&1; rm /go; mv /out.new /out; done'\n");
  const auto answer = [&] {
    sh("rm -f /out; touch /go");
    EXPECT_TRUE(eventually(30s, [&] { return sh("test -e /out").status == 0; })) << journal();
    return sh("cat /out").out;
  };
  // Down until somebody starts it: the time between the kill and the restart, as long as wanted.
  ASSERT_EQ(sh("mkdir -p /run/systemd/system/tapdeck.service.d && printf '[Service]\nRestart=no\n' >"
               " /run/systemd/system/tapdeck.service.d/test.conf && systemctl daemon-reload &&"
               " systemctl start tapdeck.service td-client.service")
                .status,
            0)
      << journal();
  EXPECT_THAT(answer(), HasSubstr("the origin's"));
  ASSERT_EQ(sh("tapdeck session create s && tapdeck attach --unit td-client.service --session s --mode replay").status,
            0)
      << journal();
  const auto pins = [&] { return sh("find /sys/fs/bpf -path '*/tapdeck-*/*' | wc -l").out; };
  EXPECT_NE(pins(), "0\n") << journal();
  sh("kill -9 " + property("MainPID"));
  ASSERT_TRUE(eventually(30s, [&] { return property("ActiveState") == "failed\n"; })) << journal();
  EXPECT_NE(pins(), "0\n");
  EXPECT_THAT(journal(), HasSubstr("fail-closed targets stay refused until it runs again"));
  EXPECT_THAT(answer(), HasSubstr("Couldn't connect to server"));
  ASSERT_EQ(sh("systemctl start tapdeck.service").status, 0) << journal();
  EXPECT_THAT(answer(), HasSubstr("not_recorded"));
  // A restart, an upgrade's for one, lets nothing pass either.
  ASSERT_EQ(sh("systemctl restart tapdeck.service").status, 0) << journal();
  EXPECT_THAT(journal(), HasSubstr("is being restarted; fail-closed targets stay refused until it runs again"));
  EXPECT_THAT(answer(), HasSubstr("not_recorded"));
  EXPECT_EQ(sh("systemctl stop tapdeck.service").status, 0);
  EXPECT_EQ(pins(), "0\n") << "an orderly stop releases all";
  EXPECT_THAT(answer(), HasSubstr("the origin's"));
}

// podman with netavark takes a lock in each of these even for `inspect`, and makes what is not there.
TEST_F(Systemd, AContainerRuntimeMayTakeItsLocks) {
  write_in_container("/usr/bin/podman",
                     "#!/bin/sh\n"
                     "for d in /etc/containers/networks /run/containers /run/libpod; do\n"
                     "  mkdir -p $d && touch $d/a.lock || exit 125\n"
                     "done\n"
                     "echo \"[{\\\"Name\\\": \\\"web\\\", \\\"Id\\\": \\\"0123456789abcdef\\\", \\\"State\\\":"
                     " {\\\"Status\\\": \\\"running\\\", \\\"Pid\\\": $(cat /web.pid)}}]\"\n");
  write_in_container("/etc/systemd/system/td-web.service", "[Service]\nExecStart=/bin/sleep infinity\n");
  ASSERT_EQ(
      sh("chmod +x /usr/bin/podman; rm -rf /etc/containers /run/containers /run/libpod; systemctl daemon-reload &&"
         " systemctl start td-web tapdeck && systemctl show -P MainPID td-web > /web.pid")
          .status,
      0)
      << journal();
  const auto attached = sh("tapdeck attach --container web --session s");
  EXPECT_EQ(attached.status, 0) << attached.err << journal();
  EXPECT_THAT(sh("tapdeck targets").out, HasSubstr("attached"));
}

// What the sandbox keeps from the daemon is said with the drop-in that changes it; what is left in the kernel, truly.
TEST_F(Systemd, AStartThatTheSandboxRefusesSaysWhatToDo) {
  ASSERT_EQ(sh("systemctl start tapdeck.service && systemctl stop tapdeck.service").status, 0) << journal();
  EXPECT_THAT(journal(), Not(HasSubstr("ConfigurationDirectory")));
  const std::map<std::string, std::string> cases = {
      {"[storage]\npath = \"/srv/td\"\n", "ReadWritePaths=/srv/td"},
      {"[storage]\npath = \"/home/td\"\n", "BindPaths=/home/td"},
      {"[proxy]\nlisten = \"127.0.0.1:80\"\n", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"},
      {"[tls]\nupstream_ca = [\"/root/ca.pem\"]\n", "BindReadOnlyPaths=/root/ca.pem"},
  };
  ASSERT_EQ(sh("mkdir -p /srv/td /home/td /run/systemd/system/tapdeck.service.d && cp /lab-ca.pem /root/ca.pem").status,
            0);
  const std::string drop_in = "/run/systemd/system/tapdeck.service.d/test.conf";
  for (const auto& [config, needs] : cases) {
    write_in_container("/etc/tapdeck/tapdeck.toml", config);
    write_in_container(drop_in, "[Service]\nRestart=no\n");
    EXPECT_NE(sh("systemctl daemon-reload; systemctl reset-failed tapdeck; systemctl start tapdeck").status, 0);
    EXPECT_THAT(journal(), HasSubstr(needs));
    EXPECT_THAT(journal(), HasSubstr("it left nothing in the kernel"));
    EXPECT_THAT(journal(), Not(HasSubstr("stay refused")));
    write_in_container(drop_in, "[Service]\n" + needs + "\n");
    EXPECT_EQ(sh("systemctl daemon-reload; systemctl reset-failed tapdeck; systemctl start tapdeck").status, 0)
        << needs << journal();
    sh("systemctl stop tapdeck");
  }
}

TEST_F(Systemd, UninstallingAPackagingTreeLeavesTheHostsServiceAlone) {
  ASSERT_EQ(sh("systemctl enable --now tapdeck.service").status, 0) << journal();
  ASSERT_EQ(
      sh("mkdir -p '/dest/b c' && cp -a /tree/usr '/dest/b c/' && DESTDIR='/dest/b c' sh /tree/uninstall /tree").status,
      0);
  EXPECT_EQ(sh("find '/dest/b c' -type f -o -name tapdeck").out, "");
  EXPECT_EQ(property("ActiveState"), "active\n");
  ASSERT_EQ(sh("sh /tree/uninstall /tree").status, 0);
  EXPECT_EQ(property("ActiveState"), "inactive\n");
  EXPECT_EQ(sh("ls -d /usr/local/share/tapdeck /usr/local/bin/tapdeck 2>/dev/null").out, "");
}

}  // namespace
}  // namespace tapdeck::lab
