#include "daemon/modes/cookie_body.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "daemon/modes/placeholder.h"
#include "store/redact.h"

namespace tapdeck::modes {
namespace {

constexpr size_t kMostValues = 8;
// More, for the values that they stand for may have been too short to count.
constexpr size_t kMostPlaceholders = 64;
constexpr size_t kLongestValue = 4096;  // of a cookie, name and all, in browsers

// A value as the body has it.
struct Form {
  std::string text, stand_in;
  size_t next = 0;  // where it is, from what was looked at on; npos: no more
};

bool is_plain(char c) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_letter || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// As in application/x-www-form-urlencoded.
std::string form_encoded(std::string_view text, std::string_view digits) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_plain(c)) {
      out += c;
    } else {
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
  return out;
}

std::vector<std::string> forms_of(std::string_view value) {
  if (std::ranges::all_of(value, is_plain)) return {std::string(value)};
  return {std::string(value), form_encoded(value, "0123456789ABCDEF"), form_encoded(value, "0123456789abcdef")};
}

// A body that has this by itself is no form.
std::string stand_in_for(std::string_view name) {
  using namespace std::string_literals;
  return "\0cookie:"s.append(name) += '\0';
}

// Those that are in the body.
std::vector<Form> forms_in(std::string_view body, const http::Headers& fields) {
  std::vector<Form> out;
  size_t values = 0, placeholders = 0;
  const bool may_hold_placeholders = body.contains("redacted");  // whatever encodes them
  for (const auto& [name, value] : store::Redactor::cookies_of(fields)) {
    if (value.size() < kShortestCookie || value.size() > kLongestValue) continue;
    const bool is_placeholder = holds_placeholder(value);
    if (is_placeholder && (!may_hold_placeholders || ++placeholders > kMostPlaceholders)) continue;
    if (!is_placeholder && ++values > kMostValues) continue;
    for (std::string& text : forms_of(value)) {
      const size_t next = body.find(text);
      if (next != std::string_view::npos) out.push_back({std::move(text), stand_in_for(name), next});
    }
  }
  // Of those that begin alike the longest counts, of the same ones the name that is first in the alphabet: clients may
  // send their cookies in another order.
  std::ranges::sort(out, [](const Form& a, const Form& b) {
    return std::tuple(b.text.size(), std::string_view(a.stand_in)) <
           std::tuple(a.text.size(), std::string_view(b.stand_in));
  });
  return out;
}

}  // namespace

std::optional<store::Digest> digest_without_cookies(std::string_view body, const http::Headers& fields,
                                                    const store::KeyHasher& hasher) {
  std::vector<Form> forms = forms_in(body, fields);
  if (forms.empty()) return std::nullopt;
  std::string out;
  size_t done = 0;
  while (true) {
    for (Form& form : forms) {
      if (form.next < done) form.next = body.find(form.text, done);
    }
    const auto first = std::ranges::min_element(forms, {}, &Form::next);
    if (first->next == std::string_view::npos) break;
    out.append(body, done, first->next - done) += first->stand_in;
    done = first->next + first->text.size();
  }
  out.append(body, done);
  return hasher.of(out);
}

}  // namespace tapdeck::modes
