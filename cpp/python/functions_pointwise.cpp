// SPDX-License-Identifier: Apache-2.0
// Elementwise functions whose signature is more than their operands: alpha, rounding_mode, optional
// bounds.
#include <limits>

#include "ops/create.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/view.h"
#include "python/function.h"
#include "python/interop.h"

namespace gradstep::python {

namespace {

const Op& op(const char* name) { return Op::get(name); }

void check_bool(const char* what, const char* symbol, bool both) {
  GS_CHECK(!both,
           "{}, the `{}` operator, with two bool tensors is not supported. Use the `^` or "
           "`logical_xor()` "
           "operator instead.",
           what, symbol);
}

Tensor subtract(const Operand& a, const Operand& b, Scalar alpha) {
  check_bool(
      "Subtraction", "-",
      a.tensor && b.tensor && a.tensor->dtype() == DType::Bool && b.tensor->dtype() == DType::Bool);
  return sub(a, b, alpha);
}

PyObject* self(Args& a) { return Py_NewRef(a.object(0)); }

bool is_one(const Scalar& s) { return s.to_double() == 1.0; }

Tensor add_inplace(const Operand& a, const Operand& b, const Scalar& alpha, const char* plain,
                   const char* scaled) {
  return is_one(alpha) ? map_inplace(op(plain), {a, b}) : map_inplace(op(scaled), {a, b, alpha});
}

// ---- division ----

const char* division(const Args& a, int i) {
  if (!a.has(i)) return "div";
  const std::string mode = a.str(i);
  if (mode == "floor") return "floor_divide";
  if (mode == "trunc") return "div_trunc";
  fail(ErrorKind::Runtime,
       "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{}'", mode);
}

/// Refuses two numbers where PyTorch has no such signature.
const Args& with_tensor(const Args& a, const char* name) {
  GS_CHECK_TYPE(a.operand(0).tensor || a.operand(1).tensor,
                "{}() received an invalid combination of arguments: input and other are numbers, "
                "and one of them must be a Tensor",
                name);
  return a;
}

Tensor divide(const Args& a, const char* name) {
  return map(op(name), {a.operand(0), a.operand(1)});
}

// ---- clamp ----

Tensor clamp(const Operand& x, const std::optional<Operand>& lo, const std::optional<Operand>& hi,
             bool in_place) {
  GS_CHECK(lo || hi, "torch.clamp: At least one of 'min' or 'max' must not be None");
  const auto run_map = [&](const char* name, std::initializer_list<Operand> operands) {
    return in_place ? map_inplace(op(name), operands) : map(op(name), operands);
  };
  if (lo && hi) return run_map("clamp", {x, *lo, *hi});
  return lo ? run_map("clamp_min", {x, *lo}) : run_map("clamp_max", {x, *hi});
}

std::optional<Operand> optional_operand(const Args& a, int i) {
  if (!a.has(i)) return {};
  return a.operand(i);
}

// ---- others ----

Tensor round_to(const Tensor& x, int64_t decimals, bool in_place) {
  // Integers are whole already.
  if (decimals == 0 || !is_floating(x.dtype()))
    return in_place ? map_inplace(op("round"), {x}) : map(op("round"), {x});
  const double scale = std::pow(10.0, static_cast<double>(std::abs(decimals)));
  const Operand operands[] = {x, decimals > 0 ? scale : 1.0, decimals > 0 ? 1.0 : scale};
  return in_place ? map_inplace(op("round_scaled"), operands) : map(op("round_scaled"), operands);
}

Tensor nan_to_num(const Args& a, bool in_place) {
  const Tensor x = a.tensor(0);
  if (!is_floating(x.dtype())) {
    if (in_place) bump_version(x);
    return in_place ? x : clone(x);
  }
  const double biggest = x.dtype() == DType::Float64    ? std::numeric_limits<double>::max()
                         : x.dtype() == DType::Float16  ? 65504.0
                         : x.dtype() == DType::BFloat16 ? 3.3895313892515355e38
                                                        : std::numeric_limits<float>::max();
  const double nan = a.has(1) ? a.f(1) : 0.0;
  const Operand operands[] = {x, nan, a.has(2) ? a.f(2) : biggest, a.has(3) ? a.f(3) : -biggest};
  return in_place ? map_inplace(op("nan_to_num"), operands) : map(op("nan_to_num"), operands);
}

// ---- closeness ----

Tensor isclose(const Args& a) {
  const Tensor x = a.tensor(0), y = a.tensor(1);
  GS_CHECK(x.dtype() == y.dtype(), "{} did not match {}", scalar_name(x.dtype()),
           scalar_name(y.dtype()));
  GS_CHECK(a.f(2) >= 0, "rtol must be greater than or equal to zero, but got {}", a.f(2));
  GS_CHECK(a.f(3) >= 0, "atol must be greater than or equal to zero, but got {}", a.f(3));
  const Operand operands[] = {x, y, a.f(2), a.f(3)};
  const Tensor close =
      map(op("isclose"), operands, is_floating(x.dtype()) ? x.dtype() : DType::Float64);
  return a.flag(4) ? logical_or(close, logical_and(isnan(x), isnan(y))) : close;
}

bool all_true(const Tensor& t) { return item(all(t)).to_bool(); }

bool equal(const Tensor& x, const Tensor& y) {
  return x.sizes() == y.sizes() && all_true(eq(x, y));
}

/// All pairs are compared: meant for short lists.
Tensor isin(const Operand& elements, const Operand& among, bool invert) {
  const Tensor x =
      elements.tensor ? *elements.tensor : scalar_tensor(elements.number, {DType::Float64, {}});
  const Tensor found = among.tensor
                           ? any(eq(unsqueeze(x, -1), reshape(*among.tensor, {-1})), {-1}, false)
                           : eq(x, among.number);
  return invert ? logical_not(found) : found;
}

Tensor float_power(const Operand& x, const Operand& exponent) {
  const Operand operands[] = {x, exponent};
  return map(op("pow"), operands, DType::Float64);
}

// ---- bool as a number ----

/// PyTorch's square of bool is int64.
Tensor square_of(const Tensor& x) {
  return x.dtype() == DType::Bool ? gradstep::pow(x, 2) : square(x);
}
const Op& complement(const Tensor& x) {
  return op(x.dtype() == DType::Bool ? "logical_not" : "bitwise_not");
}

/// softshrink's lambd is not negative and a number of the input's type.
void check_shrink(double lambd, DType dtype) {
  double largest = std::numeric_limits<float>::max();
  const char* shown = "3.40282e+38";
  switch (dtype) {
    case DType::Float64:
      largest = std::numeric_limits<double>::max();
      shown = "1.79769e+308";
      break;
    case DType::BFloat16:
      largest = 3.3895313892515355e38;
      shown = "3.38953e+38";
      break;
    case DType::Float16:
      largest = 65504;
      shown = "65504";
      break;
    default: break;
  }
  GS_CHECK(lambd >= 0 && lambd <= largest,
           "lambda must be in range [0, {}] for input dtype {}, but found {}", shown,
           scalar_name(dtype), lambd);
}

Tensor gelu(const Args& a) {
  const std::string approximate = a.str(1);
  GS_CHECK(approximate == "none" || approximate == "tanh",
           "approximate argument must be either none or tanh.");
  return map(op(approximate == "none" ? "gelu" : "gelu_tanh"), {a.tensor(0)});
}

Tensor prelu(const Tensor& x, const Tensor& weight) {
  GS_CHECK(weight.ndim() <= 1,
           "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {}",
           weight.ndim());
  if (weight.numel() == 1) return map(op("prelu"), {x, reshape(weight, {})});
  GS_CHECK(x.ndim() > 0, "Not allow zero-dim input tensor.");
  const int64_t channels = x.ndim() >= 2 ? x.sizes()[1] : 1;
  GS_CHECK(channels == weight.numel(),
           "Mismatch of parameter numbers and input channel size. Found parameter numbers = {} and "
           "channel size = {}.",
           weight.numel(), channels);
  Dims sizes = Dims::filled(x.ndim(), 1);
  sizes[x.ndim() >= 2 ? 1 : 0] = weight.numel();
  return map(op("prelu"), {x, reshape(weight, sizes)});
}

Tensor where_values(const Args& a) { return where(a.tensor(0), a.operand(1), a.operand(2)); }

const FunctionRow kRows[] = {
    {"add", "(Operand input, Operand other, *, Number alpha=1, Tensor? out=None)", Fn | Method,
     "input + alpha * other, elementwise.",
     [](Args& a) { return wrap_out(a, 3, add(a.operand(0), a.operand(1), a.scalar(2))); }},
    {"add", "(Tensor input, Number alpha, Tensor other)", Fn | Method,
     "Deprecated order of arguments.",
     [](Args& a) {
       if (PyErr_WarnEx(PyExc_UserWarning,
                        "This overload of add is deprecated:\n\tadd(Number alpha, Tensor "
                        "other)\nConsider using one of the "
                        "following signatures instead:\n\tadd(Tensor other, *, Number alpha = 1)",
                        1) < 0) {
         return static_cast<PyObject*>(nullptr);
       }
       return wrap(add(a.tensor(0), a.tensor(2), a.scalar(1)));
     }},
    {"add_", "(Tensor input, Operand other, *, Number alpha=1)", Method, "The in-place form.",
     [](Args& a) {
       add_inplace(a.operand(0), a.operand(1), a.scalar(2), "add", "add_scaled");
       return self(a);
     }},
    {"add_", "(Tensor input, Number alpha, Tensor other)", Method, "Deprecated order of arguments.",
     [](Args& a) {
       if (PyErr_WarnEx(PyExc_UserWarning,
                        "This overload of add_ is deprecated:\n\tadd_(Number alpha, Tensor "
                        "other)\nConsider using one of the "
                        "following signatures instead:\n\tadd_(Tensor other, *, Number alpha = 1)",
                        1) < 0) {
         return static_cast<PyObject*>(nullptr);
       }
       add_inplace(a.operand(0), a.operand(2), a.scalar(1), "add", "add_scaled");
       return self(a);
     }},
    {"sub", "(Operand input, Operand other, *, Number alpha=1, Tensor? out=None)", Fn | Method,
     "input - alpha * other, elementwise.",
     [](Args& a) { return wrap_out(a, 3, subtract(a.operand(0), a.operand(1), a.scalar(2))); }},
    {"sub_", "(Tensor input, Operand other, *, Number alpha=1)", Method, "The in-place form.",
     [](Args& a) {
       add_inplace(a.operand(0), a.operand(1), a.scalar(2), "sub", "sub_scaled");
       return self(a);
     }},
    {"rsub", "(Tensor input, Operand other, *, Number alpha=1)", Fn, "other - alpha * input.",
     [](Args& a) { return wrap(subtract(a.operand(1), a.operand(0), a.scalar(2))); }},
    {"div", "(Operand input, Operand other, *, str? rounding_mode=None, Tensor? out=None)",
     Fn | Method, "input / other; rounding_mode 'floor' or 'trunc' rounds the quotient.",
     [](Args& a) { return wrap_out(a, 3, divide(a, division(a, 2))); }},
    {"div_", "(Tensor input, Operand other, *, str? rounding_mode=None)", Method,
     "The in-place form.",
     [](Args& a) {
       map_inplace(op(division(a, 2)), {a.operand(0), a.operand(1)});
       return self(a);
     }},
    {"floor_divide", "(Operand input, Operand other, *, Tensor? out=None)", Fn | Method,
     "input / other, rounded down.",
     [](Args& a) { return wrap_out(a, 2, divide(a, "floor_divide")); }},
    {"floor_divide_", "(Tensor input, Operand other)", Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("floor_divide"), {a.operand(0), a.operand(1)});
       return self(a);
     }},
    {"remainder", "(Operand input, Operand other, *, Tensor? out=None)", Fn | Method,
     "The remainder of division with the sign of other, as Python's %.",
     [](Args& a) { return wrap_out(a, 2, divide(with_tensor(a, "remainder"), "remainder")); }},
    {"remainder_", "(Tensor input, Operand other)", Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("remainder"), {a.operand(0), a.operand(1)});
       return self(a);
     }},
    {"pow", "(Operand input, Operand exponent, *, Tensor? out=None)", Fn | Method,
     "input to the power of exponent.",
     [](Args& a) {
       with_tensor(a, "pow");
       return wrap_out(a, 2, gradstep::pow(a.operand(0), a.operand(1)));
     }},
    {"float_power", "(Operand input, Operand exponent, *, Tensor? out=None)", Fn | Method,
     "pow in double precision.",
     [](Args& a) {
       with_tensor(a, "float_power");
       return wrap_out(a, 2, float_power(a.operand(0), a.operand(1)));
     }},
    {"pow_", "(Tensor input, Operand exponent)", Method, "The in-place form.",
     [](Args& a) {
       pow_inplace(a.tensor(0), a.operand(1));
       return self(a);
     }},
    {"xlogy", "(Operand input, Operand other, *, Tensor? out=None)", Fn | Method,
     "input * log(other), 0 where input is 0.",
     [](Args& a) { return wrap_out(a, 2, divide(with_tensor(a, "xlogy"), "xlogy")); }},
    {"xlogy_", "(Tensor input, Operand other)", Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("xlogy"), {a.operand(0), a.operand(1)});
       return self(a);
     }},
    {"clamp", "(Tensor input, Operand? min=None, Operand? max=None, *, Tensor? out=None)",
     Fn | Method, "input limited to [min, max].",
     [](Args& a) {
       return wrap_out(a, 3,
                       clamp(a.operand(0), optional_operand(a, 1), optional_operand(a, 2), false));
     }},
    {"clamp_", "(Tensor input, Operand? min=None, Operand? max=None)", Fn | Method,
     "The in-place form.",
     [](Args& a) {
       clamp(a.operand(0), optional_operand(a, 1), optional_operand(a, 2), true);
       return self(a);
     }},
    {"clamp_min", "(Tensor input, Operand min, *, Tensor? out=None)", Fn | Method,
     "max(input, min).",
     [](Args& a) { return wrap_out(a, 2, map(op("clamp_min"), {a.operand(0), a.operand(1)})); }},
    {"clamp_max", "(Tensor input, Operand max, *, Tensor? out=None)", Fn | Method,
     "min(input, max).",
     [](Args& a) { return wrap_out(a, 2, map(op("clamp_max"), {a.operand(0), a.operand(1)})); }},
    {"clamp_min_", "(Tensor input, Operand min)", Fn | Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("clamp_min"), {a.operand(0), a.operand(1)});
       return self(a);
     }},
    {"clamp_max_", "(Tensor input, Operand max)", Fn | Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("clamp_max"), {a.operand(0), a.operand(1)});
       return self(a);
     }},
    {"round", "(Tensor input, *, int decimals=0, Tensor? out=None)", Fn | Method,
     "The nearest integer, halves to even.",
     [](Args& a) { return wrap_out(a, 2, round_to(a.tensor(0), a.i(1), false)); }},
    {"round_", "(Tensor input, *, int decimals=0)", Fn | Method, "The in-place form.",
     [](Args& a) {
       round_to(a.tensor(0), a.i(1), true);
       return self(a);
     }},
    {"nan_to_num",
     "(Tensor input, float? nan=None, float? posinf=None, float? neginf=None, *, Tensor? out=None)",
     Fn | Method, "Replaces NaN and infinities by finite numbers.",
     [](Args& a) { return wrap_out(a, 4, nan_to_num(a, false)); }},
    {"nan_to_num_", "(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)",
     Fn | Method, "The in-place form.",
     [](Args& a) {
       nan_to_num(a, true);
       return self(a);
     }},
    {"logit", "(Tensor input, float? eps=None, *, Tensor? out=None)", Fn | Method,
     "log(input / (1 - input)).",
     [](Args& a) {
       return wrap_out(a, 2, map(op("logit"), {a.operand(0), a.has(1) ? a.f(1) : -1.0}));
     }},
    {"logit_", "(Tensor input, float? eps=None)", Fn | Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("logit"), {a.operand(0), a.has(1) ? a.f(1) : -1.0});
       return self(a);
     }},
    {"softshrink", "(Tensor input, float lambd=0.5, *, Tensor? out=None)", NnFunctional,
     "input moved towards 0 by lambd: sign(input) * max(|input| - lambd, 0).",
     [](Args& a) {
       check_shrink(a.f(1), a.tensor(0).dtype());
       return wrap_out(a, 2, map(op("softshrink"), {a.operand(0), a.scalar(1)}));
     }},
    {"gelu", "(Tensor input, *, str approximate='none')", NnFunctional,
     "x * Phi(x), the Gaussian error linear unit.", [](Args& a) { return wrap(gelu(a)); }},
    {"gelu", "(Tensor input, str approximate)", NnFunctional, "",
     [](Args& a) { return wrap(gelu(a)); }},
    {"prelu", "(Tensor input, Tensor weight)", Fn | Method | NnFunctional,
     "input where positive, weight * input elsewhere; one weight or one for each channel.",
     [](Args& a) { return wrap(prelu(a.tensor(0), a.tensor(1))); }},
    {"hardtanh", "(Tensor input, float min_val=-1.0, float max_val=1.0, bool inplace=False)",
     NnFunctional, "input limited to [min_val, max_val].",
     [](Args& a) {
       GS_CHECK_VALUE(a.f(1) <= a.f(2), "min_val cannot be greater than max_val");
       const Operand x = a.operand(0);
       if (!a.flag(3)) return wrap(map(op("hardtanh"), {x, a.scalar(1), a.scalar(2)}));
       map_inplace(op("hardtanh"), {x, a.scalar(1), a.scalar(2)});
       return self(a);
     }},
    {"hardtanh_", "(Tensor input, float min_val=-1.0, float max_val=1.0)", Fn | NnFunctional,
     "The in-place form.",
     [](Args& a) {
       map_inplace(op("hardtanh"), {a.operand(0), a.scalar(1), a.scalar(2)});
       return self(a);
     }},
    {"softplus", "(Tensor input, float beta=1.0, float threshold=20.0)", NnFunctional,
     "log(1 + exp(beta * input)) / beta; input itself where beta * input > threshold.",
     [](Args& a) { return wrap(map(op("softplus"), {a.operand(0), a.scalar(1), a.scalar(2)})); }},
    {"threshold", "(Tensor input, Number threshold, Number value, bool inplace=False)",
     Fn | NnFunctional, "input where it is above threshold, else value.",
     [](Args& a) {
       const Operand x = a.operand(0);
       if (!a.flag(3)) return wrap(map(op("threshold"), {x, a.scalar(1), a.scalar(2)}));
       map_inplace(op("threshold"), {x, a.scalar(1), a.scalar(2)});
       return self(a);
     }},
    {"threshold_", "(Tensor input, Number threshold, Number value)", Fn | NnFunctional,
     "The in-place form.",
     [](Args& a) {
       map_inplace(op("threshold"), {a.operand(0), a.scalar(1), a.scalar(2)});
       return self(a);
     }},
    {"neg", "(Tensor input, *, Tensor? out=None)", Fn | Method, "The negative of each element.",
     [](Args& a) { return wrap_out(a, 1, neg(a.tensor(0))); }},
    {"neg_", "(Tensor input)", Fn | Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("neg"), {a.operand(0)});
       return self(a);
     }},
    {"square", "(Tensor input, *, Tensor? out=None)", Fn | Method, "The square of each element.",
     [](Args& a) { return wrap_out(a, 1, square_of(a.tensor(0))); }},
    {"square_", "(Tensor input)", Fn | Method, "The in-place form.",
     [](Args& a) {
       map_inplace(op("square"), {a.operand(0)});
       return self(a);
     }},
    {"bitwise_not", "(Tensor input, *, Tensor? out=None)", Fn | Method,
     "Every bit flipped; of bool, the opposite.",
     [](Args& a) { return wrap_out(a, 1, map(complement(a.tensor(0)), {a.operand(0)})); }},
    {"bitwise_not_", "(Tensor input)", Method, "The in-place form.",
     [](Args& a) {
       map_inplace(complement(a.tensor(0)), {a.operand(0)});
       return self(a);
     }},
    {"isclose",
     "(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)",
     Fn | Method, "True where |input - other| <= atol + rtol * |other|.",
     [](Args& a) { return wrap(isclose(a)); }},
    {"allclose",
     "(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)",
     Fn | Method, "True if |input - other| <= atol + rtol * |other| everywhere.",
     [](Args& a) { return wrap(all_true(isclose(a))); }},
    {"equal", "(Tensor input, Tensor other)", Fn | Method,
     "True if shapes and all elements are equal.",
     [](Args& a) { return wrap(equal(a.tensor(0), a.tensor(1))); }},
    {"isin",
     "(Operand elements, Operand test_elements, *, bool assume_unique=False, bool invert=False, "
     "Tensor? out=None)",
     Fn, "True where an element is one of test_elements.",
     [](Args& a) { return wrap_out(a, 4, isin(a.operand(0), a.operand(1), a.flag(3))); }},
    {"positive", "(Tensor input)", Fn | Method, "The input itself; not of bool.",
     [](Args& a) {
       GS_CHECK(a.tensor(0).dtype() != DType::Bool,
                "The `+` operator, on a bool tensor is not supported.");
       return self(a);
     }},
    {"real", "(Tensor input)", Fn, "The input itself.", [](Args& a) { return self(a); }},
    {"isreal", "(Tensor input)", Fn | Method, "True everywhere.",
     [](Args& a) { return wrap(ones(a.tensor(0).sizes(), {DType::Bool, a.tensor(0).device()})); }},
    {"conj", "(Tensor input)", Fn | Method, "The input itself.", [](Args& a) { return self(a); }},
    {"where", "(Tensor condition, Operand input, Operand other, *, Tensor? out=None)", Fn,
     "input where condition is true, else other.",
     [](Args& a) { return wrap_out(a, 3, where_values(a)); }},
    {"where", "(Tensor input, Tensor condition, Operand other)", Method,
     "self where condition is true, else other.",
     [](Args& a) { return wrap(where(a.tensor(1), a.operand(0), a.operand(2))); }},
};

struct Alias {
  const char* name;
  const char* of;
};
constexpr Alias kAliases[] = {{"negative", "neg"},    {"negative_", "neg_"},    {"subtract", "sub"},
                              {"subtract_", "sub_"},  {"divide", "div"},        {"divide_", "div_"},
                              {"true_divide", "div"}, {"true_divide_", "div_"}, {"clip", "clamp"},
                              {"clip_", "clamp_"}};

}  // namespace

void add_pointwise_functions() {
  add_functions(kRows);
  std::vector<FunctionRow> rows;
  for (const Alias& alias : kAliases) {
    for (const FunctionRow& row : kRows) {
      if (std::string_view(row.name) != alias.of) continue;
      rows.push_back(row);
      rows.back().name = alias.name;
    }
  }
  add_functions(rows);
}

}  // namespace gradstep::python
