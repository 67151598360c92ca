// RemoteControl: a running daemon's Control, asked over its unix socket. The CLI's other half of admin/server.
//
// One connection, blocking. Owner and thread: one CLI command.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "daemon/admin/control.h"
#include "daemon/base/unique_fd.h"

namespace tapdeck::http {
class Codec;
}

namespace tapdeck::app {

class RemoteControl final : public admin::Control {
 public:
  // Refused or NotFound: nobody lives there. Permission: the socket belongs to another user.
  [[nodiscard]] static Result<std::unique_ptr<RemoteControl>> connect(const std::filesystem::path& socket);
  ~RemoteControl() override;

  [[nodiscard]] admin::Readiness readiness() override;
  [[nodiscard]] Result<admin::Json> status() override;
  [[nodiscard]] Result<admin::Json> sessions(const admin::Page& page) override;
  [[nodiscard]] Result<admin::Json> session(const std::string& name) override;
  [[nodiscard]] Result<admin::Json> names(const std::string& session, const admin::Page& page) override;
  Result<admin::Json> create_session(const std::string& name) override;
  Result<admin::Json> delete_session(const std::string& name) override;
  Result<admin::Json> activate_session(const std::string& name, const std::string& target) override;
  Result<admin::Json> rewind_session(const std::string& name, const std::string& target) override;
  Result<admin::Json> export_session(const std::string& name, const std::string& path) override;
  Result<admin::Json> import_session(const std::string& name, const std::string& path) override;
  [[nodiscard]] Result<admin::Json> recordings(const admin::RecordingFilter& filter, const admin::Page& page) override;
  [[nodiscard]] Result<admin::Json> recording(const std::string& id) override;
  [[nodiscard]] Result<admin::Pieces> recording_body(const std::string& id, BodyOf which) override;
  Result<admin::Json> delete_recording(const std::string& id) override;
  [[nodiscard]] Result<admin::Json> mode() override;
  Result<admin::Json> set_mode(Mode mode, const std::string& target) override;
  [[nodiscard]] Result<admin::Json> targets() override;
  Result<admin::Json> attach(const admin::AttachRequest& request) override;
  Result<admin::Json> detach(const std::string& id) override;
  Result<admin::Json> follow_daemon(admin::Own what, const std::string& target) override;

  // Any request; an answer of 400 or more becomes the Error it describes.
  [[nodiscard]] Result<std::string> ask(const std::string& method, const std::string& target,
                                        const std::string& body = "");

 private:
  struct Answer {
    int status = 0;
    std::string body;
  };
  explicit RemoteControl(UniqueFd fd);
  [[nodiscard]] Result<Answer> exchange(const std::string& method, const std::string& target, const std::string& body);
  [[nodiscard]] Result<void> write_all();

  UniqueFd fd_;
  std::unique_ptr<http::Codec> codec_;
};

}  // namespace tapdeck::app
