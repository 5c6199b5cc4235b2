// SPDX-License-Identifier: Apache-2.0
// Native functions and methods as table rows. A row is
//   {"sum", "(Tensor input, IntList? dim=None, bool keepdim=False, *, dtype? dtype=None)", Fn |
//   Method,
//    "The sum of all elements or along dim.",
//    [](Args& a) { return wrap(sum(a.tensor(0), a.dims(1), a.flag(2), a.opt_dtype(3))); }},
// One callable serves torch.sum(x, 1) and x.sum(1): a method's self is its first argument. Rows of
// one name that stand together are overloads, tried in order. Types: Tensor, Scalar, int, float,
// bool, IntList (an int or a list; `*` after it also takes the rest of the positional arguments:
// x.view(2, 3)), TensorList, dtype, device, str, Generator, object (anything), layout,
// memory_format, Operand (tensor or number); `?` admits None. `= value` makes it optional.
#pragma once
#include <Python.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/generator.h"
#include "core/scalar.h"
#include "core/tensor.h"
#include "fn/traits.h"
#include "ops/op.h"

namespace gradstep::python {

/// The arguments of one call, checked against a signature. Positions are those of the signature.
class Args {
 public:
  static constexpr int kMax = 16;

  Tensor tensor(int i) const;  // undefined where None was given
  std::vector<Tensor> tensors(int i) const;
  Scalar scalar(int i) const;
  std::optional<Scalar> opt_scalar(int i) const;
  int64_t i(int i) const;
  std::optional<int64_t> opt_int(int i) const;
  double f(int i) const;
  std::optional<double> opt_double(int i) const;
  bool flag(int i) const;
  std::optional<bool> opt_flag(int i) const;
  Dims dims(int i) const;  // empty where None was given: see has()
  /// A list of n numbers, one number standing for all of them: kernel_size=3.
  Dims dims(int i, int n, const char* what) const;
  std::vector<double> floats(int i) const;
  std::optional<DType> opt_dtype(int i) const;
  std::optional<Device> opt_device(int i) const;
  std::string str(int i) const;
  Generator* generator(int i) const;                  // the default one where None was given
  PyObject* object(int i) const { return value[i]; }  // borrowed
  /// True if an argument other than None was given.
  bool has(int i) const;
  bool is_tensor(int i) const;

  /// A tensor or a number.
  Operand operand(int i) const;

  /// Replaces argument i by an object that belongs to the call.
  void own(int i, PyObject* o) {
    owned_.push_back(o);
    value[i] = o;
  }

  PyObject* value[kMax];  // borrowed; the default where nothing was given
  const struct FunctionRow* row = nullptr;
  PyObject* variadic = nullptr;  // owned: the tuple made from x.view(2, 3)

 private:
  friend struct FunctionGroup;
  mutable Tensor held_[kMax];  // what operand() refers to
  std::vector<PyObject*> owned_;

 public:
  ~Args() {
    Py_XDECREF(variadic);
    for (PyObject* o : owned_) Py_DECREF(o);
  }
};

using FunctionImpl = PyObject* (*)(Args&);

struct FunctionRow {
  const char* name;
  const char* signature;
  unsigned
      as;  // Fn, Method, NnFunctional of fn/traits.h; in-place twins are rows of their own ("add_")
  const char* doc;
  FunctionImpl impl;
  const Op* op = nullptr;  // for rows that share one impl
};

/// Adds rows to the module and to the Tensor type.
void add_functions(std::span<const FunctionRow> rows);
/// The object that stands for a function of the module in nn.functional where PyTorch's are two.
PyObject* functional_twin(PyObject* function);

// ---- results ----

PyObject* wrap(const Tensor& t);                     // None if undefined
PyObject* wrap(const std::vector<Tensor>& tensors);  // a tuple
PyObject* wrap(bool v);
PyObject* wrap(int64_t v);
PyObject* wrap(double v);
PyObject* wrap(const Scalar& v);
PyObject* wrap(const Dims& v);  // torch.Size
PyObject* wrap(const std::string& v);
PyObject* none();
/// A named tuple as torch.return_types has it: wrap_named("max", {"values", "indices"}, {v, i}).
PyObject* wrap_named(const char* type, std::initializer_list<const char*> fields,
                     std::initializer_list<Tensor> values);
/// Two results, or `out=` (argument i, a pair) after they were written into it.
PyObject* wrap_named_out(const Args& a, int i, const char* type,
                         std::initializer_list<const char*> fields, const Tensor& first,
                         const Tensor& second, bool apart = false);
/// The result, or `out=` (argument i) after the result was written into it. An `out` that shares a
/// part of the memory of an argument of its own shape is refused, as PyTorch's elementwise
/// functions do.
PyObject* wrap_out(const Args& a, int i, const Tensor& result);
/// For functions whose out= must have no memory of any argument before it, nor any element twice.
PyObject* wrap_out_apart(const Args& a, int i, const Tensor& result);

}  // namespace gradstep::python
