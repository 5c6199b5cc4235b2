// SPDX-License-Identifier: Apache-2.0
// What the table of the CUDA part (CudaApi) and captured graphs need of cuda/memory.cu; drivers
// need allocate() and DeviceScratch of cuda/runtime.h only.
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda {

/// True in a process that fork() made. It has no CUDA, and a thread that it lacks may hold a lock:
/// nothing is given back there.
bool is_forked();
void empty_cache();
void memory_of(int device, CudaMemory* out);
void reset_peak(int device);
void memory_info(int device, int64_t* free, int64_t* total);
void record_stream(void* p, int device, void* stream, int stream_device);
void* allocate_pinned(size_t bytes);
void deallocate_pinned(void* p, size_t bytes);
bool is_pinned(const void* p);
int device_of(const void* p);
void copy_bytes(void* dst, Device to, const void* src, Device from, size_t bytes,
                bool non_blocking);

/// Blocks that belong to a captured graph. They are used from use_private_pool(pool) to
/// use_private_pool(nullptr); after close_private_pool() a block goes as its last user does.
struct MemoryPool;
MemoryPool* open_private_pool(int device, cudaStream_t stream);
void use_private_pool(MemoryPool* pool);
void close_private_pool(MemoryPool* pool);

}  // namespace gradstep::cuda
