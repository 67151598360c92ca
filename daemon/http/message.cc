#include "daemon/http/message.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tapdeck::http {

namespace {

// Branch-free enough for short header names: folding by table beats tolower() and its locale.
constexpr char fold(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

}  // namespace

bool iequals(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && fold(a[i]) != fold(b[i])) return false;
  }
  return true;
}

std::string_view trim_ows(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

void Headers::add(std::string_view name, std::string_view value) {
  // An ordinary head fits, and takes two allocations instead of eight.
  constexpr size_t kFields = 16;
  constexpr size_t kText = 480;
  if (fields_.capacity() == 0) {
    fields_.reserve(kFields);
    text_.reserve(kText);
  }
  const auto name_offset = static_cast<uint32_t>(text_.size());
  const auto name_size = static_cast<uint32_t>(name.size());
  text_.append(name).append(value);
  fields_.push_back({name_offset, name_size, name_offset + name_size, static_cast<uint32_t>(value.size())});
}

void Headers::set(std::string_view name, std::string_view value) {
  bool done = false;
  Headers changed;
  changed.text_.reserve(text_.size() + name.size() + value.size());
  changed.fields_.reserve(fields_.size() + 1);
  for (size_t i = 0; i < size(); ++i) {
    const Field field = (*this)[i];
    if (!iequals(field.name, name)) {
      changed.add(field.name, field.value);
    } else if (!done) {
      changed.add(field.name, value);  // the name keeps the case it was sent with
      done = true;
    }
  }
  if (!done) changed.add(name, value);
  *this = std::move(changed);
}

size_t Headers::remove(std::string_view name) {
  // Checked first: most removals find nothing and must not cost a copy. The name may be a view into this list.
  const size_t removed = count(name);
  if (removed == 0) return 0;
  Headers kept;
  kept.text_.reserve(text_.size());
  kept.fields_.reserve(fields_.size());
  for (size_t i = 0; i < size(); ++i) {
    const Field field = (*this)[i];
    if (!iequals(field.name, name)) kept.add(field.name, field.value);
  }
  *this = std::move(kept);
  return removed;
}

void Headers::clear() {
  text_.clear();
  fields_.clear();
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const Span& span : fields_) {
    if (span.name_size != name.size()) continue;
    const std::string_view text = text_;
    if (iequals(text.substr(span.name_offset, span.name_size), name)) {
      return text.substr(span.value_offset, span.value_size);
    }
  }
  return std::nullopt;
}

size_t Headers::count(std::string_view name) const {
  size_t found = 0;
  for (size_t i = 0; i < size(); ++i) found += iequals((*this)[i].name, name) ? 1 : 0;
  return found;
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  for (size_t i = 0; i < size(); ++i) {
    const Field field = (*this)[i];
    if (!iequals(field.name, name)) continue;
    std::string_view rest = field.value;
    while (true) {
      const size_t comma = rest.find(',');
      if (iequals(trim_ows(rest.substr(0, comma)), token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

PathAndQuery split_target(std::string_view target) {
  const auto scheme = target.find("://");
  if (scheme != std::string_view::npos && scheme < target.find_first_of("/?#")) {
    const auto authority = scheme + 3;
    const auto end = target.find_first_of("/?#", authority);
    target = end == std::string_view::npos ? std::string_view{} : target.substr(end);
  }
  target = target.substr(0, target.find('#'));
  const auto mark = target.find('?');
  PathAndQuery out{target.substr(0, mark), {}};
  if (mark != std::string_view::npos) out.query = target.substr(mark + 1);
  if (out.path.empty()) out.path = "/";
  return out;
}

bool operator==(const Headers& a, const Headers& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].name != b[i].name || a[i].value != b[i].value) return false;
  }
  return true;
}

bool asks_for_tunnel(const RequestHead& head) {
  return head.method == "CONNECT" && head.protocol.empty();
}

bool is_websocket(const RequestHead& head) {
  if (head.method == "CONNECT") return iequals(head.protocol, "websocket");
  return head.method == "GET" && head.version == Version::Http11 && head.headers.has_token("upgrade", "websocket") &&
         head.headers.has_token("connection", "upgrade") && !head.headers.find("transfer-encoding") &&
         head.headers.find("content-length").value_or("0") == "0";
}

std::string_view reason_phrase(int status) {
  static constexpr std::pair<int, std::string_view> kPhrases[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {102, "Processing"},
      {103, "Early Hints"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {203, "Non-Authoritative Information"},
      {204, "No Content"},
      {205, "Reset Content"},
      {206, "Partial Content"},
      {207, "Multi-Status"},
      {208, "Already Reported"},
      {226, "IM Used"},
      {300, "Multiple Choices"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {305, "Use Proxy"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {402, "Payment Required"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {407, "Proxy Authentication Required"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Content"},
      {423, "Locked"},
      {424, "Failed Dependency"},
      {425, "Too Early"},
      {426, "Upgrade Required"},
      {428, "Precondition Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {451, "Unavailable For Legal Reasons"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {506, "Variant Also Negotiates"},
      {507, "Insufficient Storage"},
      {508, "Loop Detected"},
      {511, "Network Authentication Required"},
  };
  const auto* const at = std::lower_bound(std::begin(kPhrases), std::end(kPhrases), status,
                                          [](const auto& row, int code) { return row.first < code; });
  return at != std::end(kPhrases) && at->first == status ? at->second : std::string_view{};
}

void RequestHead::clear() {
  method.clear();
  target.clear();
  version = Version::Http11;
  scheme.clear();
  authority.clear();
  protocol.clear();
  headers.clear();
}

void ResponseHead::clear() {
  status = 0;
  reason.clear();
  version = Version::Http11;
  headers.clear();
}

}  // namespace tapdeck::http
