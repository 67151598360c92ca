#include "daemon/modes/json_tree.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace tapdeck::modes {

namespace {

// Scanning, walking and comparing recurse: this keeps the stack flat whatever a peer sends.
constexpr int kMaxDepth = 128;
// An exponent of more digits is compared as written: it would not fit the arithmetic below.
constexpr size_t kMaxExponentDigits = 15;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

uint32_t hex4(std::string_view four) {
  uint32_t value = 0;
  std::from_chars(four.data(), four.data() + four.size(), value, 16);
  return value;
}

void append_utf8(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

// "\u...." at the front of `text`, with its second half if it has one; takes it off.
uint32_t take_unicode(std::string_view& text) {
  const uint32_t first = hex4(text.substr(2, 4));
  text.remove_prefix(6);
  if (first < 0xd800 || first > 0xdbff || !text.starts_with("\\u")) return first;
  const uint32_t second = hex4(text.substr(2, 4));
  if (second < 0xdc00 || second > 0xdfff) return first;
  text.remove_prefix(6);
  return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
}

// Of a scanned string, without its quotes.
std::string unescaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t plain = std::min(text.find('\\'), text.size());
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    if (text[1] == 'u') {
      append_utf8(out, take_unicode(text));
      continue;
    }
    constexpr std::string_view kLetters = "bfnrt", kMeant = "\b\f\n\r\t";
    const size_t letter = kLetters.find(text[1]);
    out += letter == std::string_view::npos ? text[1] : kMeant[letter];
    text.remove_prefix(2);
  }
  return out;
}

// Digits without zeros at either end, and the power of ten they are multiplied with.
std::string number_identity(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view mantissa = text.substr(negative ? 1 : 0, text.find_first_of("eE") - (negative ? 1 : 0));
  std::string_view power = text.substr((negative ? 1 : 0) + mantissa.size());
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  std::string digits(mantissa.substr(0, point));
  if (point < mantissa.size()) digits += mantissa.substr(point + 1);
  auto exponent = static_cast<int64_t>(point) - static_cast<int64_t>(digits.size());
  const size_t first = digits.find_first_not_of('0');
  if (first == std::string::npos) return "#0";
  const size_t last = digits.find_last_not_of('0');
  exponent += static_cast<int64_t>(digits.size() - 1 - last);
  digits = digits.substr(first, last + 1 - first);
  if (!power.empty()) {
    power.remove_prefix(1);
    const bool minus = power.starts_with('-');
    if (minus || power.starts_with('+')) power.remove_prefix(1);
    power.remove_prefix(std::min(power.find_first_not_of('0'), power.size()));
    if (power.size() > kMaxExponentDigits) return "#?" + std::string(text);
    int64_t value = 0;
    std::from_chars(power.data(), power.data() + power.size(), value);
    exponent += minus ? -value : value;
  }
  return "#" + std::string(negative ? "-" : "") + digits + "e" + std::to_string(exponent);
}

}  // namespace

// One pass over the text; each function stands before what it takes and says whether it was there.
class JsonScanner {
 public:
  explicit JsonScanner(JsonTree& tree) : text_(tree.text_), nodes_(tree.nodes_) {}

  bool run() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    blanks();
    if (!value(0, 0)) return false;
    blanks();
    return at_ == text_.size();
  }

 private:
  [[nodiscard]] bool is_next(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!is_next(c)) return false;
    ++at_;
    return true;
  }
  void blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  [[nodiscard]] uint32_t here() const { return static_cast<uint32_t>(at_); }

  bool value(int depth, uint32_t name) {
    if (at_ == text_.size()) return false;
    const size_t index = nodes_.size();
    nodes_.push_back({here(), 0, 0, name});
    const bool good = content(depth);
    nodes_[index].end = here();
    nodes_[index].next = static_cast<uint32_t>(nodes_.size());
    return good;
  }

  bool content(int depth) {
    switch (text_[at_]) {
      case '{':
        return depth < kMaxDepth && object(depth + 1);
      case '[':
        return depth < kMaxDepth && array(depth + 1);
      case '"':
        return string();
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  bool object(int depth) {
    ++at_;
    blanks();
    if (take('}')) return true;
    for (;;) {
      blanks();
      const uint32_t name = here();
      if (!is_next('"') || !string()) return false;
      blanks();
      if (!take(':')) return false;
      blanks();
      if (!value(depth, name)) return false;
      blanks();
      if (take('}')) return true;
      if (!take(',')) return false;
    }
  }

  bool array(int depth) {
    ++at_;
    blanks();
    if (take(']')) return true;
    for (;;) {
      blanks();
      if (!value(depth, 0)) return false;
      blanks();
      if (take(']')) return true;
      if (!take(',')) return false;
    }
  }

  bool string() {
    ++at_;
    for (; at_ < text_.size(); ++at_) {
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') break;
      if (c < 0x20) return false;
      if (c == '\\' && !escape()) return false;
    }
    return take('"');
  }

  // Ends on the last byte of the escape.
  bool escape() {
    ++at_;
    if (at_ == text_.size()) return false;
    if (text_[at_] != 'u') return std::string_view("\"\\/bfnrt").find(text_[at_]) != std::string_view::npos;
    for (int i = 0; i < 4; ++i) {
      ++at_;
      constexpr std::string_view kHex = "0123456789abcdefABCDEF";
      if (at_ == text_.size() || kHex.find(text_[at_]) == std::string_view::npos) return false;
    }
    return true;
  }

  bool word(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  bool digits() {
    const size_t before = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > before;
  }

  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (!take('e') && !take('E')) return true;
    if (!take('+')) take('-');
    return digits();
  }

  std::string_view text_;
  std::vector<JsonTree::Node>& nodes_;
  size_t at_ = 0;
};

std::optional<JsonTree> JsonTree::parse(std::string_view text) {
  if (text.size() >= std::numeric_limits<uint32_t>::max()) return std::nullopt;
  JsonTree tree(text);
  if (!JsonScanner(tree).run()) return std::nullopt;
  return tree;
}

std::string JsonTree::name(Index member) const {
  const size_t begin = nodes_[member].name + 1;
  size_t end = begin;
  while (text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
  return unescaped(text_.substr(begin, end - begin));
}

bool JsonTree::has_name(Index member, std::string_view name) const {
  const std::string_view rest = text_.substr(nodes_[member].name + 1);
  // Most names have no escapes, and are compared where they are.
  const size_t end = rest.find_first_of("\"\\");
  return rest[end] == '"' ? rest.substr(0, end) == name : this->name(member) == name;
}

std::vector<JsonTree::Index> JsonTree::children(Index at) const {
  std::vector<Index> out;
  if (is_scalar(at)) return out;
  for (Index child = at + 1; child < nodes_[at].next; child = nodes_[child].next) out.push_back(child);
  if (!is_object(at)) return out;
  std::vector<std::pair<std::string, Index>> named;
  named.reserve(out.size());
  for (const Index child : out) named.emplace_back(name(child), child);
  std::ranges::sort(named);
  std::ranges::transform(named, out.begin(), &std::pair<std::string, Index>::second);
  return out;
}

std::vector<JsonTree::Index> JsonTree::members(Index object, std::string_view name) const {
  std::vector<Index> out;
  for (Index child = object + 1; child < nodes_[object].next; child = nodes_[child].next) {
    if (has_name(child, name)) out.push_back(child);
  }
  return out;
}

std::string JsonTree::identity(Index scalar) const {
  const std::string_view raw = text(scalar);
  if (raw.starts_with('"')) return '"' + unescaped(raw.substr(1, raw.size() - 2));
  return is_digit(raw.back()) ? number_identity(raw) : std::string(raw);
}

std::string member_step(std::string_view name, std::string shown) {
  for (size_t i = 0; i + 2 < shown.size(); ++i) {
    if (shown[i] == '\xed' && static_cast<unsigned char>(shown[i + 1]) >= 0xa0) shown.replace(i, 3, "\xef\xbf\xbd");
  }
  const bool is_plain = !name.empty() && name != "*" && name.find_first_of(".[]'\" \t\r\n") == std::string_view::npos;
  if (is_plain) return '.' + shown;
  const char quote = shown.contains('\'') ? '"' : '\'';
  return std::string("[") + quote + shown + quote + ']';
}

}  // namespace tapdeck::modes
