#include "daemon/app/name_answer_view.h"

#include "daemon/names/dns_message.h"

namespace tapdeck::app {
namespace {

// RFC 1035 4.1.1, as resolvers print them.
std::string status_of(names::Rcode rcode) {
  switch (rcode) {
    case names::Rcode::NoError:
      return "NOERROR";
    case names::Rcode::FormErr:
      return "FORMERR";
    case names::Rcode::ServFail:
      return "SERVFAIL";
    case names::Rcode::NxDomain:
      return "NXDOMAIN";
    case names::Rcode::NotImp:
      return "NOTIMP";
    case names::Rcode::Refused:
      return "REFUSED";
    case names::Rcode::BadVers:
      return "BADVERS";
  }
  return "RCODE" + std::to_string(static_cast<unsigned>(rcode));
}

std::string words_of(const std::string& status) {
  if (status == "NXDOMAIN") return "no such name (NXDOMAIN)";
  if (status == "SERVFAIL") return "server failure (SERVFAIL)";
  if (status == "REFUSED") return "refused (REFUSED)";
  if (status == "silent") return "no answer";
  if (status == "unreachable") return "resolver unreachable";
  if (status == "unreadable") return "no DNS message";
  return "error (" + status + ")";
}

}  // namespace

Json name_view(const store::NameAnswer& answer) {
  Json out = {{"name", answer.name.empty() ? "." : answer.name},
              {"type", names::type_name(answer.type)},
              {"answer", Json::array()},
              {"status", answer.end}};
  if (answer.end != "answered") return out;
  const auto said = names::read_answer(answer.reply);
  out["status"] = said ? status_of(said->rcode) : "unreadable";
  if (said) out["answer"] = said->records;
  if (said && names::is_truncated(answer.reply)) out["truncated"] = true;
  return out;
}

std::string answer_text(const Json& view) {
  std::string out;
  const std::string own = view["type"].get<std::string>() + " ";  // the column beside says that
  for (const Json& one : view["answer"]) {
    const std::string record = one.get<std::string>();
    out += (out.empty() ? "" : ", ") + (record.starts_with(own) ? record.substr(own.size()) : record);
  }
  const std::string status = view["status"].get<std::string>();
  if (view.contains("truncated")) return (out.empty() ? "" : out + ", ") + "truncated: the rest was asked for over TCP";
  if (status == "NOERROR") return out.empty() ? "no record of this type" : out;
  return (out.empty() ? "" : out + ", ") + words_of(status);
}

}  // namespace tapdeck::app
