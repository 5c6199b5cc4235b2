// SPDX-License-Identifier: Apache-2.0
// Properties of a tensor (shape, dtype, grad, data, ..) and Tensor._make_subclass.
#include "graph/node.h"
#include "ops/pointwise.h"
#include "ops/view.h"
#include "python/autograd.h"
#include "python/function.h"
#include "python/overrides.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace gradstep::python {

namespace {

template <class F>
PyObject* get(PyObject* self, F&& f) {
  return guard([&] { return f(unwrap(self)); });
}

PyObject* get_shape(PyObject* s, void*) {
  return get(s, [](const Tensor& t) { return wrap(t.sizes()); });
}
PyObject* get_dtype(PyObject* s, void*) { return wrap(unwrap(s).dtype()); }
PyObject* get_device(PyObject* s, void*) { return wrap(unwrap(s).device()); }
PyObject* get_ndim(PyObject* s, void*) { return PyLong_FromLong(unwrap(s).ndim()); }
PyObject* get_itemsize(PyObject* s, void*) {
  return PyLong_FromSize_t(element_size(unwrap(s).dtype()));
}
PyObject* get_nbytes(PyObject* s, void*) {
  const Tensor t = unwrap(s);
  return PyLong_FromLongLong(t.numel() * static_cast<int64_t>(element_size(t.dtype())));
}
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* get_is_cpu(PyObject* s, void*) {
  return PyBool_FromLong(unwrap(s).device().type == DeviceType::CPU);
}
PyObject* get_is_cuda(PyObject* s, void*) {
  return PyBool_FromLong(unwrap(s).device().type == DeviceType::CUDA);
}
PyObject* get_layout(PyObject*, void* module) {
  return PyObject_GetAttrString(*static_cast<PyObject**>(module), "strided");
}
PyObject* get_version(PyObject* s, void*) { return PyLong_FromUnsignedLong(unwrap(s)->version()); }
PyObject* get_T(PyObject* s, void*) {
  return get(s, [](const Tensor& t) {
    Dims order = Dims::filled(t.ndim(), 0);
    for (int d = 0; d < t.ndim(); ++d) order[d] = t.ndim() - 1 - d;
    return wrap(permute(t, order));
  });
}
PyObject* get_mT(PyObject* s, void*) {
  return get(s, [](const Tensor& t) { return wrap(mT(t)); });
}

// ---- autograd ----

PyObject* get_requires_grad(PyObject* s, void*) {
  return get(s, [](const Tensor& t) { return PyBool_FromLong(t->requires_grad || grad_fn(t)); });
}
void set_requires_grad(const Tensor& t, bool on) {
  if (grad_fn(t)) {
    GS_CHECK(on,
             "you can only change requires_grad flags of leaf variables. If you want to use a "
             "computed variable in a "
             "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
    return;
  }
  GS_CHECK(!on || is_floating(t.dtype()),
           "only Tensors of floating point and complex dtype can require gradients");
  GS_CHECK(!on || !t->inference || modes().inference,
           "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  t->requires_grad = on;
}
int set_requires_grad_attr(PyObject* s, PyObject* v, void*) {
  return guard_int([&] {
    GS_CHECK_TYPE(v && PyBool_Check(v), "requires_grad must be a bool");
    set_requires_grad(unwrap(s), v == Py_True);
  });
}
PyObject* get_is_leaf(PyObject* s, void*) {
  return get(s, [](const Tensor& t) { return PyBool_FromLong(is_leaf(t)); });
}
PyObject* get_grad_fn(PyObject* s, void*) {
  return get(s, [](const Tensor& t) { return wrap_node(Ref<Node>(grad_fn(t))); });
}
PyObject* get_output_nr(PyObject* s, void*) {
  return PyLong_FromUnsignedLong(unwrap(s)->output_nr);
}
PyObject* get_retains_grad(PyObject* s, void*) {
  const Tensor t = unwrap(s);
  return PyBool_FromLong(t->meta && t->meta->retains_grad);
}
PyObject* get_base(PyObject* s, void*) {
  return get(s, [](const Tensor& t) { return wrap(Tensor(t->base)); });
}

PyObject* get_grad(PyObject* s, void*) {
  return get(s, [](const Tensor& t) {
    if (!t->meta && t->grad_fn) {
      if (PyErr_WarnEx(PyExc_UserWarning,
                       "The .grad attribute of a Tensor that is not a leaf Tensor is being "
                       "accessed. Its .grad attribute "
                       "won't be populated during autograd.backward(). If you indeed want the "
                       ".grad field to be populated "
                       "for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                       "access the non-leaf Tensor "
                       "by mistake, make sure you access the leaf Tensor instead.",
                       1) < 0) {
        throw PythonError();
      }
    }
    return wrap(grad_of(t));
  });
}
int set_grad_attr(PyObject* s, PyObject* v, void*) {
  return guard_int([&] {
    const Tensor t = unwrap(s);
    if (!v || v == Py_None) {
      if (t->meta) set_grad(t, Tensor());
      return;
    }
    GS_CHECK_TYPE(is_tensor(v),
                  "assigned grad expected to be a Tensor or None but got grad of type {}",
                  Py_TYPE(v)->tp_name);
    const Tensor g = unwrap(v);
    GS_CHECK(g.get() != t.get(), "can't assign Variable as its own grad");
    GS_CHECK(g.dtype() == t.dtype(),
             "attempting to assign a gradient of dtype '{}' to a tensor of dtype '{}'. Please "
             "ensure that the gradient and "
             "the tensor have the same dtype",
             scalar_name(g.dtype()), scalar_name(t.dtype()));
    GS_CHECK(g.device() == t.device(), "assigned grad has data located on a different device");
    GS_CHECK(g.sizes() == t.sizes(),
             "attempting to assign a gradient of size '{}' to a tensor of size '{}'. Please ensure "
             "that the gradient and the tensor are the same size",
             g.sizes(), t.sizes());
    set_grad(t, g);
  });
}

// x.data: the same memory without history and with a version of its own.
PyObject* get_data(PyObject* s, void*) {
  return get(s, [](const Tensor& t) {
    const Tensor out = alias(t);
    separate_version(out, 0);
    return wrap(out);
  });
}
int set_data(PyObject* s, PyObject* v, void*) {
  return guard_int([&] {
    GS_CHECK_TYPE(v && is_tensor(v), "Variable data has to be a tensor, but got {}",
                  v ? Py_TYPE(v)->tp_name : "nothing");
    refuse_capture(
        "x.data = .. gives a tensor other memory; write into it instead: x.data.copy_(..)");
    const Tensor from = unwrap(v);
    TensorImpl* t = unwrap(s).get();
    GS_CHECK(
        !(t->requires_grad && !is_floating(from.dtype())),
        "data set to a tensor that requires gradients must be floating point or complex dtype");
    // A node that kept a tensor of the old geometry must not read the new one.
    const bool same_geometry = t->sizes == from.sizes() && t->dtype == from.dtype();
    separate_version(unwrap(s), t->version() + (same_geometry ? 0 : 1));
    t->storage = from->storage;
    t->data = from->data;
    t->sizes = from->sizes;
    t->strides = from->strides;
    t->dtype = from->dtype;
    t->device = from->device;
    t->base.reset();
    t->update_geometry();
  });
}

PyObject* native = nullptr;
PyGetSetDef kGetSet[] = {
    {"shape", get_shape, nullptr, "The size of each axis.", nullptr},
    {"dtype", get_dtype, nullptr, "The element type.", nullptr},
    {"device", get_device, nullptr, "Where the tensor lives.", nullptr},
    {"layout", get_layout, nullptr, "torch.strided.", &native},
    {"ndim", get_ndim, nullptr, "The number of axes.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of an element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"is_cpu", get_is_cpu, nullptr, "Whether it lies in the memory of the host.", nullptr},
    {"is_cuda", get_is_cuda, nullptr, "Whether it lies in the memory of a GPU.", nullptr},
    {"is_sparse", get_false, nullptr, "False: all tensors are strided.", nullptr},
    {"is_quantized", get_false, nullptr, "False: there are no quantized tensors.", nullptr},
    {"is_meta", get_false, nullptr, "False: all tensors have memory.", nullptr},
    {"is_nested", get_false, nullptr, "False: there are no nested tensors.", nullptr},
    {"is_mkldnn", get_false, nullptr, "False: all tensors are strided.", nullptr},
    {"is_sparse_csr", get_false, nullptr, "False: all tensors are strided.", nullptr},
    {"is_mps", get_false, nullptr, "False: there is no such device.", nullptr},
    {"T", get_T, nullptr, "With all axes reversed.", nullptr},
    {"mT", get_mT, nullptr, "With the last two axes swapped.", nullptr},
    {"H", get_T, nullptr, "The transposed matrix.", nullptr},
    {"mH", get_mT, nullptr, "With the last two axes swapped.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad_attr,
     "Whether backward() follows this tensor.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Whether no operation with a history made it.", nullptr},
    {"grad_fn", get_grad_fn, nullptr, "The node that made this tensor, None for a leaf.", nullptr},
    {"output_nr", get_output_nr, nullptr, "Which of the outputs of grad_fn it is.", nullptr},
    {"retains_grad", get_retains_grad, nullptr,
     "Whether backward() keeps its gradient though it is no leaf.", nullptr},
    {"grad", get_grad, set_grad_attr, "The accumulated gradient, None before the first backward().",
     nullptr},
    {"_grad", get_grad, set_grad_attr, nullptr, nullptr},
    {"data", get_data, set_data, "The same memory without history.", nullptr},
    {"_version", get_version, nullptr, "How often the storage was written in place.", nullptr},
    {"_base", get_base, nullptr, "The tensor this is a view of.", nullptr},
    {}};

/// A property as it was before overrides took its place in kGetSet.
struct Property {
  PyGetSetDef plain;
  PyObject* method(const char* name) const {  // Tensor.shape.__get__
    const Owned descriptor(
        PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), plain.name));
    return check(PyObject_GetAttrString(descriptor.p, name));
  }
};
PyObject* get_overridable(PyObject* s, void* property) {
  return guard([&]() -> PyObject* {
    const auto* p = static_cast<const Property*>(property);
    if (takes_over(s)) {
      const Owned get(p->method("__get__"));
      if (PyObject* result = overridden(get.p, &s, 1, nullptr)) return result;
    }
    return p->plain.get(s, p->plain.closure);
  });
}
int set_overridable(PyObject* s, PyObject* v, void* property) {
  const auto* p = static_cast<const Property*>(property);
  bool done = false;
  const int status = guard_int([&] {
    if (!takes_over(s)) return;
    const Owned set(p->method(v ? "__set__" : "__delete__"));
    PyObject* const args[] = {s, v};
    PyObject* const result = overridden(set.p, args, v ? 2 : 1, nullptr);
    done = result != nullptr;
    Py_XDECREF(result);
  });
  return status < 0 || done ? status : p->plain.set(s, v, p->plain.closure);
}

/// The type of Parameter and Buffer: an object of another subclass passes for one of them if its
/// attribute `_mark` of the class says so. Parameter(MyTensor(..)) is such an object.
PyObject* marked_instance(PyObject* cls, PyObject* instance) {
  auto* const type = reinterpret_cast<PyTypeObject*>(cls);
  if (PyObject_TypeCheck(instance, type)) Py_RETURN_TRUE;
  if (!is_tensor(instance)) Py_RETURN_FALSE;
  PyObject* const dict = reinterpret_cast<PyTensor*>(instance)->dict;
  PyObject* const mark = dict ? PyDict_GetItemString(type->tp_dict, "_mark") : nullptr;
  PyObject* const set = mark ? PyDict_GetItemWithError(dict, mark) : nullptr;
  if (!set) return PyErr_Occurred() ? nullptr : Py_NewRef(Py_False);
  return PyBool_FromLong(PyObject_IsTrue(set) == 1);
}
PyMethodDef meta_methods[] = {{"__instancecheck__", marked_instance, METH_O, nullptr}, {}};
PyType_Slot meta_slots[] = {
    {Py_tp_base, &PyType_Type}, {Py_tp_methods, meta_methods}, {0, nullptr}};
PyType_Spec meta_spec = {"gradstep._C._MarkedMeta", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                         meta_slots};

PyObject* make_subclass(Args& a) {
  PyObject* type = a.object(0);
  GS_CHECK_TYPE(
      PyType_Check(type) && PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), tensor_type),
      "_make_subclass: expected a subclass of Tensor, got {}", Py_TYPE(type)->tp_name);
  const Tensor t = alias(a.tensor(1));
  set_requires_grad(t, a.flag(2));
  return wrap_as(reinterpret_cast<PyTypeObject*>(type), t);
}

const FunctionRow kRows[] = {
    {"requires_grad_", "(Tensor input, bool requires_grad=True)", Method,
     "Sets requires_grad of a leaf.",
     [](Args& a) {
       set_requires_grad(a.tensor(0), a.flag(1));
       return Py_NewRef(a.object(0));
     }},
    {"retain_grad", "(Tensor input)", Method, "Keeps the gradient of a non-leaf in .grad.",
     [](Args& a) {
       retain_grad(a.tensor(0));
       return none();
     }},
    {"_storage", "(Tensor input)", Fn,
     "Address and bytes of the memory that the tensor is a view of.",
     [](Args& a) {
       const Storage& s = *a.tensor(0)->storage;
       return Py_BuildValue("Kn", reinterpret_cast<unsigned long long>(s.data),
                            static_cast<Py_ssize_t>(s.bytes));
     }},
    {"_make_subclass", "(object cls, Tensor data, bool require_grad=False)", Fn, "",
     &make_subclass},
};

}  // namespace

void arm_properties() {
  for (PyGetSetDef* g = kGetSet; g->name; ++g) {
    g->closure = new Property{*g};
    g->get = &get_overridable;
    if (g->set) g->set = &set_overridable;
  }
}

void add_methods(PyObject* module) {
  native = module;
  for (PyGetSetDef* g = kGetSet; g->name; ++g) {
    PyObject* descriptor = check(PyDescr_NewGetSet(tensor_type, g));
    set_tensor_attribute(g->name, descriptor);
    Py_DECREF(descriptor);
  }
  add_functions(kRows);
  PyModule_AddObject(module, "_MarkedMeta", check(PyType_FromSpec(&meta_spec)));
  PyObject* make = check(PyObject_GetAttrString(module, "_make_subclass"));
  PyObject* method = check(PyStaticMethod_New(make));
  set_tensor_attribute("_make_subclass", method);
  Py_DECREF(method);
  Py_DECREF(make);
}

}  // namespace gradstep::python
