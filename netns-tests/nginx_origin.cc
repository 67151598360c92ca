#include "netns-tests/nginx_origin.h"

#include <signal.h>

#include "netns-tests/eventually.h"
#include "netns-tests/lab_error.h"

namespace tapdeck::lab {

NginxOrigin::NginxOrigin(Topology& lab, const std::map<std::string, std::string>& files) {
  const auto root = lab.directory() / "nginx";
  std::filesystem::create_directories(root / "www");
  // nginx drops to another user when root starts it, and the lab's directory is private: keep the user.
  const auto config = root / "nginx.conf";
  for (const auto& [name, content] : files) write_file(root / "www" / name, content);
  write_file(config, "user root;\ndaemon off;\nmaster_process off;\npid " + (root / "pid").string() +
                         ";\nevents { worker_connections 4096; }\nhttp {\n"
                         "  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n"
                         "  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n"
                         "  types { application/json json; text/plain txt; }\n"
                         "  keepalive_requests 100000;\n  server {\n"
                         "    listen 80 backlog=4096; listen [::]:80 backlog=4096;\n"
                         "    listen 443 ssl backlog=4096; listen [::]:443 ssl backlog=4096;\n"
                         "    ssl_protocols TLSv1.2 TLSv1.3;\n"
                         "    ssl_certificate " +
                         lab.leaf().certificate.string() + ";\n    ssl_certificate_key " + lab.leaf().key.string() +
                         ";\n    root www;\n  }\n}\n");
  process_ = std::make_unique<Process>(ProcessOptions{
      .argv = {"nginx", "-p", root.string(), "-c", config.string(), "-e", "stderr"}, .netns = &lab.origin()});
  const bool up = eventually(10s, [&] {
    return !process_->running() ||
           run_to_end({.argv = {"curl", "-so", "/dev/null", "http://10.77.2.2/"}, .netns = &lab.origin()}).status == 0;
  });
  if (!up || !process_->running()) raise("nginx did not start: " + process_->err());
}

void NginxOrigin::stop() {
  process_->signal(SIGTERM);
  if (!process_->wait(5s)) raise("nginx did not stop");
}

}  // namespace tapdeck::lab
