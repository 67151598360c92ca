// A Control for tests of admin/ and of the client: remembers what it was asked, answers with what it was told.
#pragma once

#include <functional>

#include "daemon/admin/control.h"

namespace tapdeck::admin {

class FakeControl final : public Control {
 public:
  Readiness readiness() override { return ready; }
  Result<Json> status() override { return note("status"); }
  Result<Json> sessions(const Page& page) override {
    return note("sessions " + page.cursor + " " + std::to_string(page.limit));
  }
  Result<Json> session(const std::string& name) override { return note("session " + name); }
  Result<Json> names(const std::string& session, const Page& page) override {
    return note("names " + session + " " + page.cursor + " " + std::to_string(page.limit));
  }
  Result<Json> create_session(const std::string& name) override { return note("create " + name); }
  Result<Json> delete_session(const std::string& name) override { return note("delete " + name); }
  Result<Json> activate_session(const std::string& name, const std::string& target) override {
    return note("activate " + name + " " + target);
  }
  Result<Json> rewind_session(const std::string& name, const std::string& target) override {
    return note("rewind " + name + " " + target);
  }
  Result<Json> export_session(const std::string& name, const std::string& path) override {
    return note("export " + name + " " + path);
  }
  Result<Json> import_session(const std::string& name, const std::string& path) override {
    return note("import " + name + " " + path);
  }
  Result<Json> recordings(const RecordingFilter& filter, const Page&) override {
    if (search) search();
    return note("recordings " + filter.session + " " + filter.host.value_or("-") + " " +
                std::to_string(filter.status.value_or(0)));
  }
  Result<Json> recording(const std::string& id) override { return note("recording " + id); }
  Result<Pieces> recording_body(const std::string& id, BodyOf which) override {
    TRY(text, note((which == BodyOf::Request ? "request body " : "response body ") + id));
    return body ? body() : one_piece(std::move(text));
  }
  Result<Json> delete_recording(const std::string& id) override { return note("delete recording " + id); }
  Result<Json> mode() override { return note("mode"); }
  Result<Json> set_mode(Mode mode, const std::string& target) override {
    return note("set mode " + std::string(to_string(mode)) + " " + target);
  }
  Result<Json> targets() override { return note("targets"); }
  Result<Json> attach(const AttachRequest& request) override {
    return note("attach " + request.kind + " " + request.selector + (request.sealed ? " sealed" : ""));
  }
  Result<Json> detach(const std::string& id) override { return note("detach " + id); }
  Result<Json> follow_daemon(Own what, const std::string& target) override {
    return note((what == Own::Mode ? "follow the mode " : "follow the session ") + target);
  }

  Readiness ready{.ready = true, .reason = ""};
  std::string last;  // the last question
  Result<Json> answer = "{}";
  std::function<void()> search;  // runs while recordings() does
  std::function<Pieces()> body;  // of recording_body(); unset: the answer

 private:
  Result<Json> note(std::string what) {
    last = std::move(what);
    return answer;
  }
};

}  // namespace tapdeck::admin
