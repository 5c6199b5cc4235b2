// SPDX-License-Identifier: Apache-2.0
// A function, method, in-place form and F. alias for every elementwise functor of cpp/fn, from what
// the functor says of itself. Those whose Python signature differs from the functor's operands have
// rows of their own in functions_pointwise.cpp. Also PyTorch's second names for the same ops.
#include <deque>
#include <set>
#include <string>

#include "fn/grad.h"
#include "ops/op.h"
#include "python/function.h"

namespace gradstep::python {

namespace {

constexpr int kMaxOperands = kMaxMapOperands;

void check_any_tensor(const Args& a, int n) {
  bool any = false;
  for (int k = 0; k < n; ++k) any |= a.is_tensor(k);
  GS_CHECK_TYPE(any, "{}(): at least one argument must be a Tensor", a.row->name);
}

/// Op(operands...), optionally in place or into out=; the argument behind the operands says.
PyObject* call_map(Args& a) {
  const Op& op = *a.row->op;
  check_any_tensor(a, op.arity);
  Operand operands[kMaxOperands] = {0, 0, 0, 0, 0, 0};
  for (int k = 0; k < op.arity; ++k) operands[k] = a.operand(k);
  return wrap_out(a, op.arity, map(op, std::span<const Operand>(operands, op.arity)));
}

PyObject* call_map_inplace(Args& a) {
  const Op& op = *a.row->op;
  Operand operands[kMaxOperands] = {0, 0, 0, 0, 0, 0};
  for (int k = 0; k < op.arity; ++k) operands[k] = a.operand(k);
  map_inplace(op, std::span<const Operand>(operands, op.arity));
  return Py_NewRef(a.object(0));
}

PyObject* call_activation(Args& a) {
  return a.flag(a.row->op->arity) ? call_map_inplace(a) : [&] {
    const Op& op = *a.row->op;
    Operand operands[kMaxOperands] = {0, 0, 0, 0, 0, 0};
    for (int k = 0; k < op.arity; ++k) operands[k] = a.operand(k);
    return wrap(map(op, std::span<const Operand>(operands, op.arity)));
  }();
}

/// Functors whose rows are written by hand.
const std::set<std::string_view>& handwritten() {
  static const std::set<std::string_view> names = {
      "add",          "bitwise_not", "clamp",     "clamp_max", "clamp_min", "div",
      "floor_divide", "gelu",        "hardtanh",  "isclose",   "logit",     "nan_to_num",
      "neg",          "pow",         "remainder", "round",     "softplus",  "softshrink",
      "square",       "sub",         "threshold", "xlogy"};
  return names;
}

const std::pair<const char*, const char*> kAliases[] = {
    {"abs", "absolute"},  {"acos", "arccos"},   {"acosh", "arccosh"}, {"asin", "arcsin"},
    {"asinh", "arcsinh"}, {"atan", "arctan"},   {"atan2", "arctan2"}, {"atanh", "arctanh"},
    {"mul", "multiply"},  {"trunc", "fix"},     {"gt", "greater"},    {"ge", "greater_equal"},
    {"lt", "less"},       {"le", "less_equal"}, {"ne", "not_equal"},  {"digamma", "psi"}};

std::deque<std::string>& texts() {
  static std::deque<std::string> t;  // rows point into it for the whole process
  return t;
}
const char* text(std::string s) { return texts().emplace_back(std::move(s)).c_str(); }

std::vector<FunctionRow>& rows() {
  static std::vector<FunctionRow> r;
  return r;
}

const char* signature(const char* first, std::string_view params, const char* rest) {
  std::string s(1, '(');
  s += first;
  if (!params.empty()) s += ", ";
  s += params;
  s += rest;
  return text(std::move(s));
}

void add_row(const char* name, const char* first, std::string_view params, const char* doc,
             unsigned as) {
  const Op& op = Op::get(name);
  const bool keyword_only = params.find('*') != std::string_view::npos;
  const unsigned visible = as & (Fn | Method | NnFunctional);
  if (visible) {
    if ((as & NnFunctional) && (as & InPlace)) {
      rows().push_back({name, signature(first, params, ", bool inplace=False)"), visible, doc,
                        &call_activation, &op});
    } else {
      const char* rest = keyword_only ? ", Tensor? out=None)" : ", *, Tensor? out=None)";
      rows().push_back({name, signature(first, params, rest), visible, doc, &call_map, &op});
    }
  }
  if (as & InPlace) {
    rows().push_back({text(std::string(name) + "_"), signature("Tensor input", params, ")"),
                      Fn | Method, "The in-place form.", &call_map_inplace, &op});
  }
}

template <class F>
void add_functor() {
  if (F::as != Internal && !handwritten().count(F::name))
    add_row(F::name, F::first, F::params, F::doc, F::as);
}

}  // namespace

void add_map_functions() {
  [&]<class... F>(Ops<F...>) { (add_functor<F>(), ...); }(MapOps{});
  const size_t n = rows().size();
  for (const auto& [name, alias] : kAliases) {
    for (size_t i = 0; i < n; ++i) {
      const std::string_view have = rows()[i].name;
      if (have != name && have != std::string(name) + "_") continue;
      FunctionRow row = rows()[i];
      row.name = text(have.back() == '_' ? std::string(alias) + "_" : std::string(alias));
      rows().push_back(row);
    }
  }
  add_functions(rows());
}

}  // namespace gradstep::python
