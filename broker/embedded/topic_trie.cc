#include "broker/embedded/topic_trie.h"

#include <utility>

#include "broker/embedded/exchange.h"

namespace postoffice::embedded {
namespace {

std::vector<std::string_view> words_of(std::string_view key) {
  std::vector<std::string_view> words;
  if (key.empty()) return words;
  for (;;) {
    const auto dot = key.find('.');
    words.push_back(key.substr(0, dot));
    if (dot == std::string_view::npos) return words;
    key.remove_prefix(dot + 1);
  }
}

}  // namespace

void TopicTrie::add(std::string_view pattern, Binding& binding) {
  Node* node = &root_;
  for (const auto word : words_of(pattern)) {
    auto& child = node->children.try_emplace(std::string(word)).first->second;
    if (!child) child = std::make_unique<Node>();
    child->is_hash = word == "#";
    node = child.get();
  }
  add_to(node->bindings, &Binding::at_source, binding);
}

void TopicTrie::remove(std::string_view pattern, Binding& binding) {
  const auto words = words_of(pattern);
  std::vector<Node*> path = {&root_};
  for (const auto word : words) {
    const auto child = path.back()->children.find(word);
    if (child == path.back()->children.end()) return;
    path.push_back(child->second.get());
  }
  take_from(path.back()->bindings, &Binding::at_source, binding);
  for (size_t i = words.size(); i > 0; --i) {
    if (!path[i]->bindings.empty() || !path[i]->children.empty()) return;
    path[i - 1]->children.erase(path[i - 1]->children.find(words[i - 1]));
  }
}

void TopicTrie::match(std::span<const std::string_view> keys,
                      std::vector<Binding*>& matching) const {
  const uint64_t before = step_;
  for (const auto key : keys) {
    for (const Node* node : ends_of(key)) {
      if (std::exchange(node->matched, step_) > before) continue;
      matching.insert(matching.end(), node->bindings.begin(), node->bindings.end());
    }
  }
}

// All places in the trie are followed at once, each at most once a word: patterns of many `#` cost
// no more than others.
std::vector<const TopicTrie::Node*> TopicTrie::ends_of(std::string_view key) const {
  std::vector<const Node*> nodes;
  std::vector<const Node*> next;
  ++step_;
  reach(root_, nodes);
  for (const auto word : words_of(key)) {
    ++step_;
    next.clear();
    for (const Node* node : nodes) {
      if (node->is_hash) reach(*node, next);
      if (const auto child = node->children.find(word); child != node->children.end()) {
        reach(*child->second, next);
      }
      if (const auto star = node->children.find("*"); star != node->children.end()) {
        reach(*star->second, next);
      }
    }
    std::swap(nodes, next);
  }
  return nodes;
}

void TopicTrie::reach(const Node& node, std::vector<const Node*>& nodes) const {
  if (node.reached == step_) return;
  node.reached = step_;
  nodes.push_back(&node);
  if (const auto hash = node.children.find("#"); hash != node.children.end()) {
    reach(*hash->second, nodes);
  }
}

}  // namespace postoffice::embedded
