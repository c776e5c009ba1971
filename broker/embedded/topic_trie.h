#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace postoffice::embedded {

struct StringHash {
  using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard's name.
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

template <typename Value>
using StringMap = std::unordered_map<std::string, Value, StringHash, std::equal_to<>>;

class Binding;

// The bindings of a topic exchange by the words of their patterns (AMQP 0-9-1 section 3.1.3.3): `*`
// stands for one word, `#` for any number of them, none included. An empty key has no words.
class TopicTrie {
 public:
  void add(std::string_view pattern, Binding& binding);
  void remove(std::string_view pattern, Binding& binding);
  // Adds what matches any of these, each once.
  void match(std::span<const std::string_view> keys, std::vector<Binding*>& matching) const;

 private:
  struct Node {
    StringMap<std::unique_ptr<Node>> children;
    std::vector<Binding*> bindings;
    bool is_hash = false;          // Reached by `#`: any further word stays here.
    mutable uint64_t reached = 0;  // The step in which it was.
    mutable uint64_t matched = 0;  // The step in which its bindings were added.
  };

  // The nodes at which a key ends.
  std::vector<const Node*> ends_of(std::string_view key) const;
  // Adds `node` and what is reached from it without a word.
  void reach(const Node& node, std::vector<const Node*>& nodes) const;

  Node root_;
  mutable uint64_t step_ = 0;
};

}  // namespace postoffice::embedded
