#include "daemon/http/message.h"

#include "daemon/http/h1_syntax.h"

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

bool operator==(const Headers& a, const Headers& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].name != b[i].name || a[i].value != b[i].value) return false;
  }
  return true;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 507:
      return "Insufficient Storage";
    default:
      return "Internal Server Error";
  }
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
