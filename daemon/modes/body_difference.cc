#include "daemon/modes/body_difference.h"

#include <algorithm>
#include <array>
#include <compare>
#include <optional>
#include <span>
#include <utility>

#include "daemon/base/ascii.h"
#include "daemon/base/hex.h"
#include "daemon/coding/decoder.h"
#include "daemon/modes/excerpt.h"
#include "daemon/modes/json_changes.h"
#include "daemon/modes/placeholder.h"

namespace tapdeck::modes {
namespace {

using store::Difference;
using store::Redactor;
using Differences = std::vector<Difference>;

constexpr size_t kDifferences = 5;
constexpr size_t kFieldNameBytes = 40;
// Around the first difference, so that a name that says what is secret is seen with it.
constexpr size_t kContext = 256;
constexpr std::string_view kNotShown = "<not shown>";

// ---- redaction

std::string encoded(std::string_view text, std::string_view special) {
  std::string out;
  for (const char c : text) {
    if (special.contains(c)) {
      out += '%' + to_hex(std::array{static_cast<uint8_t>(c)});
    } else {
      out += c;
    }
  }
  return out;
}

// What stands in place of a value under that name, if the Redactor hides anything of it.
std::optional<std::string> hidden(const Redactor& redactor, std::string_view name, std::string_view value) {
  std::string target = "?" + encoded(name, "&#=;?/!") + "=";  // one parameter, whatever is in it
  const size_t begin = target.size();
  target += encoded(value, "&#");
  if (redactor.redact_target(target) == 0) return std::nullopt;
  return target.substr(begin);
}

std::string redacted(const Redactor& redactor, std::string_view name, std::string_view value) {
  return hidden(redactor, name, value).value_or(std::string(value));
}

// ---- JSON

// nullopt: it is not there.
std::optional<std::string> json_value(const Redactor& redactor, const JsonTree& tree, std::optional<JsonTree::Index> at,
                                      const std::vector<std::string>& names) {
  if (!at) return std::nullopt;
  if (!tree.is_scalar(*at)) return tree.is_object(*at) ? "{...}" : "[...]";
  const std::string value = tree.identity(*at);  // without the escapes that would hide a URL
  if (auto secret = hidden(redactor, {}, value)) return secret;
  for (const std::string& name : names) {
    // Most names are no secret's, and the value may be long.
    if (!hidden(redactor, name, "-")) continue;
    if (auto secret = hidden(redactor, name, value)) return secret;
  }
  return std::string(tree.text(*at));
}

Difference difference_of(std::string where, const std::optional<std::string>& recorded,
                         const std::optional<std::string>& requested) {
  Excerpts shown = excerpts_of(recorded.value_or(""), requested.value_or(""));
  // The request has what a replay gave in place of a secret: that is what the recorded one has here.
  if (requested && holds_placeholder(*requested) && !holds_placeholder(shown.recorded)) shown.recorded = kNotShown;
  if (!recorded) shown.recorded = kAbsentInBody;
  if (!requested) shown.requested = kAbsentInBody;
  return {std::move(where), std::move(shown.recorded), std::move(shown.requested)};
}

// nullopt: one of them is no JSON object or array.
std::optional<Differences> differences_of_json(const SeenBody& recorded, const SeenBody& requested,
                                               const Redactor& redactor) {
  const auto a = JsonTree::parse(recorded.text), b = JsonTree::parse(requested.text);
  if (!a || !b || a->is_scalar(0) || b->is_scalar(0)) return std::nullopt;
  Differences out;
  for (const JsonChange& change : json_changes(*a, *b, kDifferences)) {
    out.push_back(difference_of("body " + change.path, json_value(redactor, *a, change.recorded, change.names),
                                json_value(redactor, *b, change.requested, change.names)));
  }
  return out;
}

// ---- forms

struct FormField {
  std::string_view name, value;
};

// By name, of the same name in order. nullopt: no form, whatever its type says: a text without a name before it, which
// would be told as one.
std::optional<std::vector<FormField>> form_fields_of(std::string_view text) {
  std::vector<FormField> fields;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    fields.push_back({pair.substr(0, equals), pair.substr(equals + 1)});
  }
  std::ranges::sort(fields, {}, [](const FormField& field) { return std::pair(field.name, field.name.data()); });
  return fields;
}

// nullopt: one of them is no form.
std::optional<Differences> differences_of_forms(const SeenBody& recorded, const SeenBody& requested,
                                                const Redactor& redactor) {
  if (!recorded.is_form || !requested.is_form) return std::nullopt;
  const auto our_fields = form_fields_of(recorded.text), their_fields = form_fields_of(requested.text);
  if (!our_fields || !their_fields) return std::nullopt;
  const std::vector<FormField>&ours = *our_fields, &theirs = *their_fields;
  Differences out;
  for (size_t i = 0, j = 0; out.size() < kDifferences && (i < ours.size() || j < theirs.size());) {
    auto order = std::strong_ordering::equal;
    if (i < ours.size() && j < theirs.size()) order = ours[i].name <=> theirs[j].name;
    if (i == ours.size()) order = std::strong_ordering::greater;
    if (j == theirs.size()) order = std::strong_ordering::less;
    const FormField* ours_here = order <= 0 ? &ours[i++] : nullptr;
    const FormField* theirs_here = order >= 0 ? &theirs[j++] : nullptr;
    if (order == 0 && ours_here->value == theirs_here->value) continue;
    const auto value = [&redactor](const FormField* field) {
      return field ? std::optional(redacted(redactor, field->name, field->value)) : std::nullopt;
    };
    const std::string_view name = (ours_here != nullptr ? ours_here : theirs_here)->name;
    out.push_back(
        difference_of("body field " + cut_short(name, kFieldNameBytes), value(ours_here), value(theirs_here)));
  }
  return out;
}

// ---- all others

// Of a Content-Type (RFC 2046 5.1.1).
std::string boundary_in(std::string_view type) {
  constexpr std::string_view kName = "boundary=";
  const std::string lower = lowered(type);
  const size_t found = lower.find(kName);
  if (!lower.starts_with("multipart/") || found == std::string::npos) return {};
  type.remove_prefix(found + kName.size());
  if (!type.starts_with('"')) return std::string(type.substr(0, type.find_first_of("; \t")));
  return std::string(type.substr(1, type.find('"', 1) - 1));
}

std::string with_boundary_of(const SeenBody& other, const SeenBody& body) {
  const std::string ours = "--" + body.boundary, theirs = "--" + other.boundary;
  std::string out;
  std::string_view rest = body.text;
  for (size_t at = rest.find(ours); at != std::string_view::npos; at = rest.find(ours)) {
    out.append(rest.substr(0, at)).append(theirs);
    rest.remove_prefix(at + ours.size());
  }
  return out.append(rest);
}

void add_bytes(const SeenBody& recorded, const SeenBody& requested, std::string_view remark, const Redactor& redactor,
               Differences& out) {
  const size_t parted = common_beginning(recorded.text, requested.text);
  const auto is_cut_there = [parted](const SeenBody& body) { return parted == body.text.size() && !body.is_whole; };
  if (is_cut_there(recorded) || is_cut_there(requested)) {
    out.push_back({"body beyond byte " + std::to_string(parted), "<not compared>", "<not compared>"});
    return;
  }
  if (recorded.text == requested.text) return;
  std::string where = "body at byte " + std::to_string(parted);
  where += remark;
  // Whose value it is cannot be told: the name may stand far in front of it, as the field of a part does.
  const auto may_be_secret = [&](const SeenBody& body) {
    return redactor.names_secret(std::string_view(body.text).substr(0, parted + kContext));
  };
  if (may_be_secret(recorded) || may_be_secret(requested)) {
    out.push_back({std::move(where), std::string(kNotShown), std::string(kNotShown)});
    return;
  }
  const auto around = [&](const SeenBody& body) {
    const size_t begin = parted > kContext ? parted - kContext : 0;
    return redacted(redactor, {}, std::string_view(body.text).substr(begin, 2 * kContext));
  };
  out.push_back(difference_of(std::move(where), around(recorded), around(requested)));
}

}  // namespace

SeenBody see_body(const http::Headers& fields, std::string_view begin, uint64_t size) {
  SeenBody seen;
  const std::string_view type = fields.find("content-type").value_or("");
  seen.is_form = lowered(type).starts_with("application/x-www-form-urlencoded");
  seen.boundary = boundary_in(type);
  const auto codings = coding::codings_of(fields);
  if (codings && !codings->empty()) {
    coding::Decoder decoder(*codings, {});
    std::string text(kSeenBody, '\0');
    size_t used = 0;
    Result<size_t> read = size_t{1};
    for (std::string_view rest = begin; used < text.size() && read && *read > 0; used += read.value_or(0)) {
      read = decoder.read(rest, std::span(text).subspan(used));
    }
    const bool is_all = begin.size() == size;
    seen.is_whole = is_all && used < text.size() && read && decoder.finish();
    if (read && (seen.is_whole || !is_all || used == text.size())) {
      text.resize(used);
      seen.text = std::move(text);
      return seen;
    }
  }
  seen.text = begin.substr(0, kSeenBody);
  seen.is_whole = seen.text.size() == size;
  return seen;
}

Differences body_differences(const SeenBody& recorded, const SeenBody& requested, const Redactor& redactor) {
  std::string_view remark;
  if (recorded.is_whole && requested.is_whole) {
    auto found = differences_of_json(recorded, requested, redactor);
    if (!found) found = differences_of_forms(recorded, requested, redactor);
    if (found && !found->empty()) return std::move(*found);
    if (found) remark = " (the same values)";
  }
  Differences out;
  const bool are_multipart = !recorded.boundary.empty() && !requested.boundary.empty();
  if (!are_multipart || recorded.boundary == requested.boundary) {
    add_bytes(recorded, requested, remark, redactor, out);
    return out;
  }
  out.push_back(difference_of("body multipart boundary", recorded.boundary, requested.boundary));
  SeenBody renamed = requested;
  renamed.text = with_boundary_of(recorded, requested);
  add_bytes(recorded, renamed, remark, redactor, out);
  return out;
}

}  // namespace tapdeck::modes
