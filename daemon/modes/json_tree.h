// JsonTree: where each value of a JSON text (RFC 8259) lies in it, and what it is worth. Nothing is converted: numbers
// of any length, duplicate names and lone surrogates are all kept, so that one place can be changed and the rest left
// byte for byte. Not a document to build or print. A byte order mark is skipped. Plain values. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tapdeck::modes {

class JsonTree {
 public:
  using Index = uint32_t;  // of a value; 0 is the whole text's. Children follow their parent, in the order of the text.

  // nullopt: not JSON, nested deeper than 128, or 4 GiB and more. `text` must outlive the tree.
  [[nodiscard]] static std::optional<JsonTree> parse(std::string_view text);

  [[nodiscard]] size_t size() const { return nodes_.size(); }
  [[nodiscard]] std::string_view text(Index at) const {
    return text_.substr(nodes_[at].begin, nodes_[at].end - nodes_[at].begin);
  }
  // Where text(at) begins in the whole text.
  [[nodiscard]] size_t offset(Index at) const { return nodes_[at].begin; }
  [[nodiscard]] bool is_object(Index at) const { return text_[nodes_[at].begin] == '{'; }
  [[nodiscard]] bool is_array(Index at) const { return text_[nodes_[at].begin] == '['; }
  [[nodiscard]] bool is_scalar(Index at) const { return !is_object(at) && !is_array(at); }
  [[nodiscard]] bool is_null(Index at) const { return text_[nodes_[at].begin] == 'n'; }

  // The name of a member, its escapes undone; a lone surrogate becomes three bytes that are no UTF-8.
  [[nodiscard]] std::string name(Index member) const;

  // Elements in order; members by name, those of the same name in order.
  [[nodiscard]] std::vector<Index> children(Index at) const;
  // Members of an object that are called so, in order.
  [[nodiscard]] std::vector<Index> members(Index object, std::string_view name) const;
  // The same for equal scalars and for no others: "\u00e9" is "é", and numbers are compared as decimals, exactly: 1.0
  // is 1, 12345678901234567890123 is not ...124.
  [[nodiscard]] std::string identity(Index scalar) const;

 private:
  friend class JsonScanner;
  // 16 bytes: a text of 16 MiB may hold 8 million values.
  struct Node {
    uint32_t begin;
    uint32_t end;
    Index next;     // the value after this one and all below it
    uint32_t name;  // of a member: where its name's quote is
  };
  explicit JsonTree(std::string_view text) : text_(text) {}
  [[nodiscard]] bool has_name(Index member, std::string_view name) const;

  std::string_view text_;
  std::vector<Node> nodes_;
};

// The step of a path to the member called `name`, as config/json_path.h reads it: ".id", "['odd name']". It has `shown`
// in it: that name, or a part of it for people; a lone surrogate, which could not be sent, as U+FFFD.
[[nodiscard]] std::string member_step(std::string_view name, std::string shown);

}  // namespace tapdeck::modes
