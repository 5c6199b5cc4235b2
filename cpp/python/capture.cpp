// SPDX-License-Identifier: Apache-2.0
// Captured functions in Python: the call, what is compared before a replay, and the results.
//   session = _C._CaptureSession(inputs, leaves)      # from here on what runs is recorded
//   entry = session.finish(args, kwargs, result, outputs, guard)     # or session.roll_back()
//   class Captured(_C._Captured): ..      # captured(*args): an entry that fits, or
//   self._slow(args, kwargs) captured._add(entry)
// python/gradstep/_capture.py decides what to record and says why something is refused.
// See Note [What is compared before a replay] in capture_guard.h.
#include "python/capture.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <structmember.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/cuda_api.h"
#include "graph/anomaly.h"
#include "graph/input_kind.h"
#include "graph/program.h"
#include "graph/recorded_graph.h"
#include "graph/team.h"
#include "ops/autocast.h"
#include "python/autograd.h"
#include "python/capture_guard.h"
#include "python/function.h"
#include "python/interop.h"
#include "python/overrides.h"
#include "python/tensor_type.h"
#include "python/types.h"

namespace py = pybind11;

namespace gradstep::python {

namespace {

// ---- lines ----

std::string own_directory;       // of the package: its frames are not the user's
std::string standard_directory;  // of Python's library: nor are those (but what is installed in it)
struct Line {
  PyObject* code;  // owned
  int number;
};
std::vector<Line> lines;
std::map<std::pair<PyObject*, int>, uint32_t> line_index;

bool is_own(PyCodeObject* code) {
  static std::map<PyObject*, bool> known;  // by file name; never freed, a few hundred
  const auto it = known.find(code->co_filename);
  if (it != known.end()) return it->second;
  const char* name = PyUnicode_AsUTF8(code->co_filename);
  const auto is_in = [&](const std::string& directory) {
    return std::strncmp(name, directory.c_str(), directory.size()) == 0;
  };
  const bool own =
      name && (is_in(own_directory) ||
               (is_in(standard_directory) && !std::strstr(name, "-packages")) || name[0] == '<');
  Py_INCREF(code->co_filename);
  return known[code->co_filename] = own;
}

/// The innermost line of the user's that is running, as an index into `lines`.
uint32_t current_line() {
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  while (frame) {
    PyCodeObject* const code = PyFrame_GetCode(frame);
    if (!is_own(code)) break;
    Py_DECREF(code);
    PyFrameObject* const back = PyFrame_GetBack(frame);
    Py_DECREF(frame);
    frame = back;
  }
  if (!frame) return UINT32_MAX;
  PyObject* const code = reinterpret_cast<PyObject*>(PyFrame_GetCode(frame));
  const int number = PyFrame_GetLineNumber(frame);
  Py_DECREF(frame);
  const auto [it, added] = line_index.try_emplace({code, number}, lines.size());
  if (added) {
    lines.push_back({code, number});
  } else {
    Py_DECREF(code);
  }
  return it->second;
}

std::string describe_line(uint32_t index) {
  if (index >= lines.size()) return "?";
  const auto* code = reinterpret_cast<PyCodeObject*>(lines[index].code);
  const char* file = PyUnicode_AsUTF8(code->co_filename);
  const char* name = PyUnicode_AsUTF8(code->co_name);
  return format("{}:{} in {}", file ? file : "?", lines[index].number, name ? name : "?");
}

// ---- arguments and results ----

/// What a structure of tensors, containers and constants is made of, in order.
struct Token {
  enum class Kind : uint8_t { Tensor, Tuple, List, Dict, Named, Keywords, Constant };
  Kind kind;
  Py_ssize_t n = 0;            // of a container; attributes that were set on a tensor
  PyObject* object = nullptr;  // a constant or key; the class of a Named; borrowed while comparing
};

struct Flat {
  std::vector<Token> tokens;
  std::vector<Tensor> tensors;

  void add(PyObject* o) {
    if (is_tensor(o)) {
      // The class of one that overrides functions, so that no program of other tensors fits.
      const bool overrides = overrides_in_use && takes_over(o);
      tokens.push_back({Token::Kind::Tensor, attributes_of(o),
                        overrides ? reinterpret_cast<PyObject*>(Py_TYPE(o)) : nullptr});
      tensors.push_back(unwrap(o));
      if (tokens.back().n == 0) return;
      PyObject *name, *value;
      Py_ssize_t at = 0;
      while (PyDict_Next(reinterpret_cast<PyTensor*>(o)->dict, &at, &name, &value)) {
        tokens.push_back({Token::Kind::Constant, 0, name});
        tokens.push_back({Token::Kind::Constant, 0, value});
      }
    } else if (PyTuple_Check(o)) {
      const bool named = !PyTuple_CheckExact(o);
      tokens.push_back({named ? Token::Kind::Named : Token::Kind::Tuple, PyTuple_GET_SIZE(o),
                        named ? reinterpret_cast<PyObject*>(Py_TYPE(o)) : nullptr});
      for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o); ++i) add(PyTuple_GET_ITEM(o, i));
    } else if (PyList_CheckExact(o)) {
      tokens.push_back({Token::Kind::List, PyList_GET_SIZE(o)});
      for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); ++i) add(PyList_GET_ITEM(o, i));
    } else if (PyDict_CheckExact(o)) {
      tokens.push_back({Token::Kind::Dict, PyDict_GET_SIZE(o)});
      PyObject *key, *value;
      Py_ssize_t at = 0;
      while (PyDict_Next(o, &at, &key, &value)) {
        tokens.push_back({Token::Kind::Constant, 0, key});
        add(value);
      }
    } else {
      tokens.push_back({Token::Kind::Constant, 0, o});
    }
  }
  /// The tokens own their objects from now on.
  void keep() {
    for (const Token& t : tokens) Py_XINCREF(t.object);
  }
  void drop() {
    for (const Token& t : tokens) Py_XDECREF(t.object);
  }
};

bool same_tokens(const std::vector<Token>& a, const std::vector<Token>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].kind != b[i].kind || a[i].n != b[i].n || !same_value(a[i].object, b[i].object))
      return false;
  }
  return true;
}

/// The structure again, with other tensors.
PyObject* rebuild(const std::vector<Token>& tokens, size_t& at, const std::vector<Tensor>& tensors,
                  size_t& tensor) {
  const Token& t = tokens[at++];
  switch (t.kind) {
    case Token::Kind::Tensor: {
      PyObject* const out = wrap(tensors[tensor++]);
      for (Py_ssize_t i = 0; i < t.n; ++i, at += 2) {
        if (PyObject_SetAttr(out, tokens[at].object, tokens[at + 1].object) == 0) continue;
        Py_DECREF(out);
        throw PythonError();
      }
      return out;
    }
    case Token::Kind::Constant: return Py_NewRef(t.object);
    case Token::Kind::Tuple:
    case Token::Kind::Named: {
      PyObject* const out = check(PyTuple_New(t.n));
      for (Py_ssize_t i = 0; i < t.n; ++i)
        PyTuple_SET_ITEM(out, i, rebuild(tokens, at, tensors, tensor));
      if (t.kind == Token::Kind::Tuple) return out;
      const Owned values(out);
      if (PyObject_HasAttrString(t.object, "_make"))  // a namedtuple
        return check(PyObject_CallMethod(t.object, "_make", "(O)", out));
      return check(PyObject_CallOneArg(t.object, out));
    }
    case Token::Kind::Keywords: break;  // of arguments only
    case Token::Kind::List: {
      PyObject* const out = check(PyList_New(t.n));
      for (Py_ssize_t i = 0; i < t.n; ++i)
        PyList_SET_ITEM(out, i, rebuild(tokens, at, tensors, tensor));
      return out;
    }
    case Token::Kind::Dict: {
      PyObject* const out = check(PyDict_New());
      for (Py_ssize_t i = 0; i < t.n; ++i) {
        PyObject* const key = tokens[at++].object;
        const Owned value(rebuild(tokens, at, tensors, tensor));
        if (PyDict_SetItem(out, key, value.p) < 0) throw PythonError();
      }
      return out;
    }
  }
  return nullptr;
}

/// The settings that decide what is launched.
struct ModeKey {
  Modes modes;
  bool autocast_on[kDevices];
  DType autocast_dtype[kDevices];
  bool autocast_cache, anomaly;
  DType default_type;
  Device device;
  CudaFlags cuda;

  static ModeKey now() {
    ModeKey k;
    std::memset(static_cast<void*>(&k), 0, sizeof k);
    k.modes = gradstep::modes();
    const AutocastState& a = autocast_state();
    for (int d = 0; d < kDevices; ++d) {
      k.autocast_on[d] = a.on[d];
      k.autocast_dtype[d] = a.dtype[d];
    }
    k.autocast_cache = a.cache;
    k.anomaly = g_anomaly.on;
    k.default_type = default_dtype();
    k.device = default_device();
    k.cuda = cuda_flags();
    return k;
  }
  bool operator==(const ModeKey& o) const { return std::memcmp(this, &o, sizeof o) == 0; }
};

// ---- one program and what it needs ----

struct LiveGroup {
  py::object name, group;
  const Op* op;
  LiveScope::Read read;
  double numbers[kMaxHyper];
  size_t n = 0;

  /// Reads the numbers; false if the algorithm would run something else with them.
  bool refresh(bool* changed) {
    double now[kMaxHyper];
    size_t count = 0;
    if (!read(name.ptr(), group.ptr(), op, now, &count)) return false;
    *changed = count != n || std::memcmp(now, numbers, n * sizeof(double)) != 0;
    n = count;
    std::copy_n(now, n, numbers);
    return true;
  }
};

struct Entry {
  std::unique_ptr<Program> program;
  std::shared_ptr<Guard> guard;
  Flat arguments, result;
  std::vector<InputKind> inputs;
  std::vector<Tensor> casts_taken;  // leaves whose kept casts are inputs, behind the arguments
  std::vector<Tensor> casts_made;   // .. are results, behind the others
  std::vector<LiveGroup> live;
  ModeKey modes = ModeKey::now();
  int64_t replays = 0;
  int64_t verify = 0;  // so many replays are still to be compared with an eager run

  Entry() = default;
  Entry(const Entry&) = delete;
  ~Entry() {
    arguments.drop();
    result.drop();
  }

  bool signature_fits(const Flat& flat) const {
    if (!same_tokens(arguments.tokens, flat.tokens) || !(modes == ModeKey::now())) return false;
    const auto fit = [&](const std::vector<Tensor>& tensors) {
      for (size_t k = 0; k < inputs.size(); ++k) {
        if (!inputs[k].fits(*tensors[k].get(), {tensors.data(), k})) return false;
      }
      return true;
    };
    for (const Tensor& leaf : casts_made) {
      if (kept_cast(leaf).defined()) return false;
    }
    if (casts_taken.empty()) return fit(flat.tensors);
    for (const Tensor& leaf : casts_taken) {
      if (!kept_cast(leaf).defined()) return false;
    }
    return fit(with_casts(flat));
  }
  /// What the program takes: the arguments, and the casts that autocast has kept.
  std::vector<Tensor> with_casts(const Flat& flat) const {
    std::vector<Tensor> tensors = flat.tensors;
    for (const Tensor& leaf : casts_taken) tensors.push_back(kept_cast(leaf));
    return tensors;
  }
  bool gradients_fit(const Flat& flat) const {
    if (casts_taken.empty())
      return program->gradients_fit(flat.tensors) && program->inputs_apart(flat.tensors);
    const std::vector<Tensor> inputs = with_casts(flat);
    return program->gradients_fit(inputs) && program->inputs_apart(inputs);
  }
  bool refresh_live() {
    for (size_t k = 0; k < live.size(); ++k) {
      bool changed = false;
      if (!live[k].refresh(&changed)) return false;
      if (changed) program->set_numbers(static_cast<int32_t>(k), {live[k].numbers, live[k].n});
    }
    return true;
  }
  PyObject* run(const Flat& flat) {
    return build(program->replay(casts_taken.empty() ? flat.tensors : with_casts(flat)));
  }
  PyObject* build(const std::vector<Tensor>& tensors) {
    ++replays;
    const size_t others = tensors.size() - casts_made.size();
    for (size_t k = 0; k < casts_made.size(); ++k) keep_cast(casts_made[k], tensors[others + k]);
    size_t at = 0, tensor = 0;
    return rebuild(result.tokens, at, tensors, tensor);
  }
};

Flat flatten_call(PyObject* args, PyObject* kwargs) {
  Flat flat;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i) flat.add(PyTuple_GET_ITEM(args, i));
  flat.tokens.push_back({Token::Kind::Keywords});  // f(x, y=z) is not f(x, {"y": z})
  if (kwargs && PyDict_GET_SIZE(kwargs) > 0) flat.add(kwargs);
  return flat;
}

// ---- recording ----

class Session;
Session* g_session = nullptr;

class Session {
 public:
  Session(const py::list& inputs, const py::list& leaves) {
    GS_CHECK_KIND(Capture, !g_session && !recording_watcher(),
                  "another function is being captured");
    std::vector<Tensor> given = tensors_of(inputs);
    leaves_ = tensors_of(leaves);
    for (const Tensor& leaf : leaves_) {
      const Tensor cast = kept_cast(leaf);
      if (!cast.defined()) continue;
      given.push_back(cast);
      casts_taken_.push_back(leaf);
    }
    for (size_t k = 0; k < given.size(); ++k)
      kinds_.emplace_back(*given[k].get(), std::span<const Tensor>(given.data(), k));
    for (const auto* list : {&given, &leaves_}) {
      for (const Tensor& t : *list) shapes_.push_back({t, t->storage.get(), geometry_of(*t.get())});
    }
    n_given_ = given.size();
    recorder_ = std::make_unique<Recorder>(given, leaves_);
    recorder_->line = &current_line;
    recorder_->describe = &describe_line;
    g_session = this;
  }
  Session(const Session&) = delete;
  ~Session() { end(); }

  void roll_back() {
    if (recorder_) recorder_->roll_back();
    for (const Shape& s : shapes_) s.restore();
    for (const Tensor& leaf : casts_made()) forget_cast(leaf);
    end();
  }
  bool holds(const py::object& result) {
    Flat flat;
    flat.add(result.ptr());
    for (const Tensor& leaf : casts_made()) flat.tensors.push_back(kept_cast(leaf));
    return recorder_->holds(flat.tensors);
  }
  void drop() { end(); }
  bool differentiates() const { return recorder_->differentiates; }
  int64_t draws() const {
    const std::span<const Step> steps = recorder_->steps();
    return std::count_if(steps.begin(), steps.end(), [](const Step& s) { return s.op->draws; });
  }
  std::string refused() const { return recorder_ ? recorder_->refused() : std::string(); }

  std::shared_ptr<Entry> finish(const py::tuple& args, const py::object& kwargs,
                                const py::object& result, std::shared_ptr<Guard> guard) {
    for (size_t k = 0; k < n_given_; ++k) {
      GS_CHECK_KIND(Capture, shapes_[k].is_as_it_was(),
                    "{}: the shape or memory of an argument is changed in place, which a replay "
                    "would not do; return the tensor",
                    describe_line(current_line()));
    }
    auto entry = std::make_shared<Entry>();
    entry->arguments = flatten_call(args.ptr(), kwargs.is_none() ? nullptr : kwargs.ptr());
    entry->arguments.keep();
    entry->inputs = std::move(kinds_);
    for (size_t k = 0; k < entry->arguments.tensors.size(); ++k) {
      const Tensor& t = entry->arguments.tensors[k];
      if (recorder_->pinned(t)) entry->inputs[k].pinned = t->data;
    }
    entry->result.add(result.ptr());
    entry->result.keep();
    entry->casts_made = casts_made();
    for (const Tensor& leaf : entry->casts_made) entry->result.tensors.push_back(kept_cast(leaf));
    entry->program = recorder_->finish(entry->result.tensors);
    entry->casts_taken = std::move(casts_taken_);
    entry->arguments.tensors.clear();
    entry->result.tensors.clear();
    entry->guard = std::move(guard);
    entry->live = std::move(live_);
    end();
    return entry;
  }

  int32_t live(PyObject* name, PyObject* group, const Op* op, LiveScope::Read read) {
    for (size_t k = 0; k < live_.size(); ++k) {
      if (live_[k].group.ptr() == group && live_[k].op == op) return static_cast<int32_t>(k);
    }
    LiveGroup& l = live_.emplace_back();
    l.name = py::reinterpret_borrow<py::object>(name);
    l.group = py::reinterpret_borrow<py::object>(group);
    l.op = op;
    l.read = read;
    return static_cast<int32_t>(live_.size() - 1);
  }
  Recorder* recorder() { return recorder_.get(); }
  void first_call() { recorder_->unrecorded = true; }

  /// Looks at what each step writes; with `audits` at whether its op declares it.
  void look(bool audits) { (audits ? recorder_->audits : recorder_->hashes) = true; }
  std::string undeclared() {
    recorder_->look_back();
    return recorder_->undeclared();
  }
  /// For an eager run with look(): the steps as (op, line, hash), and what the run has written.
  py::tuple trace(const py::object& result) {
    recorder_->look_back();
    py::list steps;
    const auto& hashes = recorder_->hashes_of_steps();
    for (const Step& s : recorder_->steps()) {
      const auto k = static_cast<size_t>(s.recorded);
      steps.append(
          py::make_tuple(s.op->name, describe_line(s.line), k < hashes.size() ? hashes[k] : 0));
    }
    Flat flat;
    flat.add(result.ptr());
    return py::make_tuple(steps, std::make_shared<Written>(recorder_->written(flat.tensors)));
  }

 private:
  static std::vector<Tensor> tensors_of(const py::list& list) {
    std::vector<Tensor> out;
    for (const py::handle& h : list) out.push_back(unwrap(h.ptr()));
    return out;
  }
  void end() {
    recorder_.reset();
    if (g_session == this) g_session = nullptr;
  }
  /// Leaves whose casts autocast keeps since the recording began.
  std::vector<Tensor> casts_made() const {
    std::vector<Tensor> made;
    for (const Tensor& leaf : leaves_) {
      const bool taken = std::any_of(casts_taken_.begin(), casts_taken_.end(),
                                     [&](const Tensor& t) { return t.ref() == leaf.ref(); });
      if (!taken && kept_cast(leaf).defined()) made.push_back(leaf);
    }
    return made;
  }
  /// What t_() and its like change without a launch.
  struct Shape {
    Tensor t;
    const Storage* storage;
    Ref<TensorImpl> was;
    bool is_as_it_was() const {
      return t->storage.get() == storage && t->data == was->data && t->dtype == was->dtype &&
             t->sizes == was->sizes && t->strides == was->strides;
    }
    void restore() const {
      if (is_as_it_was() || t->storage.get() != storage) return;
      t->data = was->data;
      t->sizes = was->sizes;
      t->strides = was->strides;
      t->update_geometry();
    }
  };
  std::unique_ptr<Recorder> recorder_;
  std::vector<Shape> shapes_;  // of the arguments, and behind them of the leaves
  size_t n_given_ = 0;
  std::vector<InputKind> kinds_;  // before the run
  std::vector<Tensor> leaves_, casts_taken_;
  std::vector<LiveGroup> live_;
};

}  // namespace

LiveScope::LiveScope(PyObject* name, PyObject* group, const Op* op, Read read) {
  if (g_session) g_session->recorder()->live = g_session->live(name, group, op, read);
}
double read_at_first(const Tensor& t) {
  struct Back {
    Watcher* watcher = recording_watcher();
    ~Back() { recording_watcher() = watcher; }
  } const back;
  if (g_session && g_session->recorder()->unrecorded) recording_watcher() = nullptr;
  return item(t).to_double();
}

LiveScope::~LiveScope() {
  if (g_session) g_session->recorder()->live = -1;
}

namespace {

// ---- the callable ----

struct PyCaptured {
  PyObject_HEAD PyObject* dict;
  PyObject* weakrefs;
  std::vector<std::shared_ptr<Entry>>* entries;  // the last one used first
};

PyObject* captured_new(PyTypeObject* type, PyObject*, PyObject*) {
  auto* self = reinterpret_cast<PyCaptured*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  self->entries = new std::vector<std::shared_ptr<Entry>>;
  return reinterpret_cast<PyObject*>(self);
}

int captured_traverse(PyObject* o, visitproc visit, void* arg) {
  auto* self = reinterpret_cast<PyCaptured*>(o);
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(self->dict);
  return 0;
}

int captured_clear(PyObject* o) {
  auto* self = reinterpret_cast<PyCaptured*>(o);
  Py_CLEAR(self->dict);
  if (self->entries) self->entries->clear();
  return 0;
}

void captured_dealloc(PyObject* o) {
  PyTypeObject* const type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  auto* self = reinterpret_cast<PyCaptured*>(o);
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  captured_clear(o);
  delete self->entries;
  type->tp_free(o);
  Py_DECREF(type);
}

PyObject* captured_call(PyObject* o, PyObject* args, PyObject* kwargs) {
  return guard([&]() -> PyObject* {
    auto* self = reinterpret_cast<PyCaptured*>(o);
    auto& entries = *self->entries;
    if (!entries.empty() && !recording_watcher()) {
      const Flat flat = flatten_call(args, kwargs);
      for (size_t k = 0; k < entries.size(); ++k) {
        Entry& e = *entries[k];
        if (!e.signature_fits(flat) || e.guard->check() >= 0 || !e.gradients_fit(flat) ||
            !e.refresh_live()) {
          continue;
        }
        const std::shared_ptr<Entry> held = entries[k];
        if (k != 0)
          std::rotate(entries.begin(), entries.begin() + static_cast<long>(k),
                      entries.begin() + static_cast<long>(k) + 1);
        if (e.verify > 0) [[unlikely]] {
          --e.verify;
          static PyObject* const verified = PyUnicode_InternFromString("_verified");
          const Owned keywords(kwargs ? Py_NewRef(kwargs) : PyDict_New());
          const py::object entry = py::cast(held);
          return check(
              PyObject_CallMethodObjArgs(o, verified, entry.ptr(), args, keywords.p, nullptr));
        }
        return held->run(flat);
      }
    }
    static PyObject* const slow = PyUnicode_InternFromString("_slow");
    const Owned keywords(kwargs ? Py_NewRef(kwargs) : PyDict_New());
    return check(PyObject_CallMethodObjArgs(o, slow, args, keywords.p, nullptr));
  });
}

/// As a method of a class.
PyObject* captured_get(PyObject* o, PyObject* instance, PyObject*) {
  return instance && instance != Py_None ? PyMethod_New(o, instance) : Py_NewRef(o);
}

PyMemberDef captured_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(PyCaptured, dict), READONLY, nullptr},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyCaptured, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyGetSetDef captured_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMethodDef captured_methods[] = {
    {"_add", as_function(+[](PyObject* o, PyObject* entry) {
       return guard([&] {
         auto& entries = *reinterpret_cast<PyCaptured*>(o)->entries;
         entries.insert(entries.begin(), py::cast<std::shared_ptr<Entry>>(py::handle(entry)));
         return none();
       });
     }),
     METH_O, "_add($self, entry, /)\n--\n\nThe entry to try first."},
    {"_entries", as_function(+[](PyObject* o, PyObject*) {
       return guard(
           [&] { return py::cast(*reinterpret_cast<PyCaptured*>(o)->entries).release().ptr(); });
     }),
     METH_NOARGS, "_entries($self)\n--\n\nThe entries, the last one used first."},
    {"_drop", as_function(+[](PyObject* o, PyObject* entry) {
       return guard([&] {
         const auto gone = py::cast<std::shared_ptr<Entry>>(py::handle(entry));
         std::erase(*reinterpret_cast<PyCaptured*>(o)->entries, gone);
         return none();
       });
     }),
     METH_O, "_drop($self, entry, /)\n--\n\nForgets an entry."},
    {"_keep", as_function(+[](PyObject* o, PyObject* n) {
       return guard([&] {
         auto& entries = *reinterpret_cast<PyCaptured*>(o)->entries;
         const auto most = static_cast<size_t>(PyLong_AsSize_t(n));
         if (entries.size() > most) entries.resize(most);
         return none();
       });
     }),
     METH_O, "_keep($self, n, /)\n--\n\nDrops all but the n entries used last."},
    {nullptr, nullptr, 0, nullptr}};
PyType_Slot captured_slots[] = {
    {Py_tp_doc, const_cast<char*>("A function that replays what it launched.")},
    {Py_tp_new, reinterpret_cast<void*>(&captured_new)},
    {Py_tp_call, reinterpret_cast<void*>(&captured_call)},
    {Py_tp_descr_get, reinterpret_cast<void*>(&captured_get)},
    {Py_tp_traverse, reinterpret_cast<void*>(&captured_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(&captured_clear)},
    {Py_tp_dealloc, reinterpret_cast<void*>(&captured_dealloc)},
    {Py_tp_members, captured_members},
    {Py_tp_getset, captured_getset},
    {Py_tp_methods, captured_methods},
    {0, nullptr}};
PyType_Spec captured_spec = {"gradstep._C._Captured", sizeof(PyCaptured), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                             captured_slots};

// ---- what Python may ask ----

py::list steps_of(const Program& program) {
  py::list out;
  for (const Step& s : program.steps) {
    py::dict d;
    d["op"] = s.op->name;
    d["line"] = describe_line(s.line);
    py::list replaces;
    for (const Op* op : s.replaces) replaces.append(op->name);
    d["replaces"] = replaces;
    py::list outs, ins;
    for (size_t k = 0; k < s.operands.size(); ++k) {
      const int32_t o = s.operands[k];
      py::object shown = py::none();
      if (o >= 0) {
        const OperandView& v = program.operands[static_cast<size_t>(o)];
        const Place& p = program.places[static_cast<size_t>(v.place)];
        static const char* const homes[] = {"outside", "input", "gradient", "inside", "escapes"};
        shown = py::make_tuple(v.place, homes[static_cast<int>(p.home)],
                               py::reinterpret_steal<py::object>(wrap(v.tensor->sizes)),
                               py::reinterpret_steal<py::object>(wrap(v.tensor->dtype)));
      }
      (k < s.n_out ? outs : ins).append(shown);
    }
    d["outputs"] = outs;
    d["inputs"] = ins;
    out.append(d);
  }
  return out;
}

}  // namespace

PyObject* capture_error = nullptr;

void add_capture(PyObject* module) {
  auto m = py::reinterpret_borrow<py::module_>(module);
  capture_error = check(PyErr_NewExceptionWithDoc(
      "gradstep.CaptureError", "A captured function did what a replay could not repeat.",
      PyExc_RuntimeError, nullptr));
  m.attr("CaptureError") = py::handle(capture_error);
  py::class_<Guard, std::shared_ptr<Guard>>(m, "_Guard")
      .def(py::init<>())
      .def("add_dict", &Guard::add_dict, py::arg("path"), py::arg("d"),
           py::arg("skip") = py::none())
      .def("add_entry", &Guard::add_entry)
      .def("add_list", &Guard::add_list)
      .def("add_class_entry", &Guard::add_class_entry)
      .def("add_function", &Guard::add_function)
      .def("add_read", &Guard::add_read)
      .def("add_set", &Guard::add_set)
      .def("add_cell", &Guard::add_cell)
      .def("add_tensor", &Guard::add_tensor)
      .def("take", &Guard::take)
      .def("compare_hooks", &Guard::compare_hooks)
      .def("check", &Guard::check)
      .def("explain", &Guard::explain)
      .def("__len__", &Guard::size);
  py::class_<Entry, std::shared_ptr<Entry>>(m, "_CaptureEntry")
      .def("signature_fits",
           [](const Entry& e, const py::tuple& args, const py::dict& kwargs) {
             return e.signature_fits(flatten_call(args.ptr(), kwargs.ptr()));
           })
      .def("gradients_fit",
           [](const Entry& e, const py::tuple& args, const py::dict& kwargs) {
             const Flat flat = flatten_call(args.ptr(), kwargs.ptr());
             return e.gradients_fit(flat);
           })
      .def(
          "replay",
          [](Entry& e, const py::tuple& args, const py::dict& kwargs) {
            return py::reinterpret_steal<py::object>(e.run(flatten_call(args.ptr(), kwargs.ptr())));
          })
      .def("replay_traced",
           [](Entry& e, const py::tuple& args, const py::dict& kwargs) {
             const Flat flat = flatten_call(args.ptr(), kwargs.ptr());
             std::vector<uint64_t> hashes;
             const std::vector<Tensor> tensors = e.program->replay(e.with_casts(flat), hashes);
             py::list steps;
             for (const Step& s : e.program->steps) {
               const auto k = static_cast<size_t>(s.recorded);
               steps.append(
                   py::make_tuple(s.recorded, s.op->name, k < hashes.size() ? hashes[k] : 0));
             }
             return py::make_tuple(py::reinterpret_steal<py::object>(e.build(tensors)), steps);
           })
      .def_readwrite("verify", &Entry::verify)
      .def_readonly("guard", &Entry::guard)
      .def_readonly("replays", &Entry::replays)
      .def_property_readonly("seconds", [](const Entry& e) { return e.program->seconds; })
      .def("time_next", [](Entry& e) { e.program->time_next(); })
      .def_property_readonly("steps", [](const Entry& e) { return steps_of(*e.program); })
      .def_property_readonly("graphs", [](const Entry& e) { return e.program->graphs(); })
      .def_property_readonly(
          "backwards",
          [](const Entry& e) {
            py::list found;
            if (!e.program->graph) return found;
            for (const auto& b : e.program->graph->backward_programs()) {
              const Program& p = *b.program;
              py::dict d;
              d["n_recorded"] = p.n_recorded;
              d["steps"] = steps_of(p);
              d["replays"] = b.replays;
              d["seconds"] = p.seconds;
              d["graphs"] = p.graphs();
              d["arena_bytes"] = p.arena_bytes;
              d["eager_bytes"] = p.eager_bytes;
              found.append(d);
            }
            return found;
          },
          "What is known of each backward pass that was recorded for the results")
      .def_property_readonly("n_recorded", [](const Entry& e) { return e.program->n_recorded; })
      .def_property_readonly("n_steps", [](const Entry& e) { return e.program->steps.size(); })
      .def_property_readonly("arena_bytes", [](const Entry& e) { return e.program->arena_bytes; })
      .def_property_readonly("eager_bytes", [](const Entry& e) { return e.program->eager_bytes; });
  py::class_<Written, std::shared_ptr<Written>>(m, "_Written")
      .def("difference", [](const Written& w, const py::object& result) {
        Flat flat;
        flat.add(result.ptr());
        return w.difference(flat.tensors);
      });
  py::class_<Session>(m, "_CaptureSession")
      .def(py::init<const py::list&, const py::list&>())
      .def("roll_back", &Session::roll_back)
      .def("first_call", &Session::first_call)
      .def("drop", &Session::drop)
      .def_property_readonly("differentiates", &Session::differentiates)
      .def("look", &Session::look, py::arg("audits") = false)
      .def("trace", &Session::trace)
      .def_property_readonly("undeclared", &Session::undeclared)
      .def("holds", &Session::holds)
      .def("finish", &Session::finish)
      .def_property_readonly("refused", &Session::refused);
  m.def("_capture_setup", [](const std::string& package, const std::string& standard) {
    own_directory = package;
    standard_directory = standard;
  });
  m.def("_read_at_first", &read_at_first);
  m.def(
      "_team_least", [](double nanoseconds) { return Team::set_least(nanoseconds); },
      "From how many nanoseconds on threads share a stretch of steps; the value before.");
  m.def("_hooks_of_leaf", [](const Tensor& t) {
    py::list hooks;
    for (PyObject* h : hooks_of_leaf(*t.get())) hooks.append(py::handle(h));
    return hooks;
  });
  m.def("_is_capturing", [] { return recording_watcher() != nullptr; });
  m.def(
      "_capture_draws", [] { return g_session && recording_watcher() ? g_session->draws() : -1; },
      "How many calls of the recording that runs draw random numbers; -1 if none runs.");
  m.def("_refuse_capture", [](const std::string& what) { refuse_capture(what.c_str()); });
  m.def("_flatten", [](const py::tuple& args, const py::dict& kwargs) {
    const Flat flat = flatten_call(args.ptr(), kwargs.ptr());
    py::list tensors, constants;
    for (const Tensor& t : flat.tensors) tensors.append(py::reinterpret_steal<py::object>(wrap(t)));
    for (const Token& t : flat.tokens) {
      if (t.kind == Token::Kind::Constant) constants.append(py::handle(t.object));
    }
    return py::make_tuple(tensors, constants);
  });
  PyObject* const type = check(PyType_FromSpec(&captured_spec));
  if (PyModule_AddObjectRef(module, "_Captured", type) < 0) throw PythonError();
}

}  // namespace gradstep::python
