// SPDX-License-Identifier: Apache-2.0
// The functions behind torch.cuda.CUDAGraph; graphs are opaque numbers here,
// python/gradstep/cuda/graphs.py owns them.
#include "core/cuda_api.h"
#include "python/function.h"
#include "python/tensor_type.h"

namespace gradstep::python {

namespace {

void* graph_of(const Args& a) { return PyLong_AsVoidPtr(a.object(0)); }

const FunctionRow kRows[] = {
    {"_cuda_begin_capture", "(int device)", Fn, "",
     [](Args& a) {
       cuda_api().begin_capture(static_cast<int>(a.i(0)));
       return none();
     }},
    {"_cuda_end_capture", "(bool keep)", Fn, "",
     [](Args& a) {
       void* graph = cuda_api().end_capture(a.flag(0));
       return graph ? PyLong_FromVoidPtr(graph) : none();
     }},
    {"_cuda_replay_graph", "(object graph)", Fn, "",
     [](Args& a) {
       cuda_api().replay_graph(graph_of(a), nullptr);
       return none();
     }},
    {"_cuda_destroy_graph", "(object graph)", Fn, "",
     [](Args& a) {
       cuda_api().destroy_graph(graph_of(a));
       return none();
     }},
    {"_cuda_is_capturing", "()", Fn, "",
     [](Args&) { return wrap(cuda_is_loaded() && cuda_api().is_capturing()); }},
};

}  // namespace

void add_cuda_graph_functions() { add_functions(kRows); }

}  // namespace gradstep::python
