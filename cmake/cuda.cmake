# SPDX-License-Identifier: Apache-2.0
# The CUDA part: libgradstep_cuda.so, a plug-in that the core loads at the first use of CUDA
# (cpp/core/cuda_api.cpp). It needs nvcc to build, and nothing but the driver to load: cuBLASLt, cuDNN and
# NVRTC are opened at first need, with declarations of our own (cuda/cublaslt.h, cuda/cudnn.h).
#   GRADSTEP_CUDA=AUTO|ON|OFF             AUTO builds it where nvcc is found
#   GRADSTEP_CUDA_ARCHITECTURES=80-real;90  machine code for sm_80 and sm_90, PTX for newer ones
include_guard()
set(GRADSTEP_CUDA "AUTO" CACHE STRING "Build the CUDA part: AUTO, ON or OFF")
set(GRADSTEP_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "CUDA architectures, as CMAKE_CUDA_ARCHITECTURES")

set(_gradstep_cuda "off")
if(NOT GRADSTEP_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(_gradstep_cuda "on")
  elseif(GRADSTEP_CUDA STREQUAL "ON")
    message(FATAL_ERROR "GRADSTEP_CUDA=ON, but nvcc was not found: put it into PATH or set CUDACXX")
  else()
    set(_gradstep_cuda "not built: nvcc was not found (put it into PATH or set CUDACXX)")
  endif()
endif()

if(_gradstep_cuda STREQUAL "on")
  set(CMAKE_CUDA_ARCHITECTURES ${GRADSTEP_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_FLAGS_RELEASE "-DNDEBUG")
  if(GRADSTEP_CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${GRADSTEP_CCACHE})
  endif()
  enable_language(CUDA)
  set(_gradstep_cuda "nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${GRADSTEP_CUDA_ARCHITECTURES}")

  file(GLOB GRADSTEP_CUDA_SOURCES CONFIGURE_DEPENDS cuda/*.cu)
  add_library(gradstep_cuda MODULE ${GRADSTEP_CUDA_SOURCES})
  target_include_directories(gradstep_cuda PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/cpp)
  target_compile_features(gradstep_cuda PRIVATE cuda_std_20)
  target_compile_definitions(gradstep_cuda PRIVATE GS_CUDA_VERSION="${CMAKE_CUDA_COMPILER_VERSION}")
  target_compile_options(gradstep_cuda PRIVATE -O3 --expt-relaxed-constexpr --extended-lambda -Xfatbin=-compress-all
                         -Xcompiler=-fvisibility=hidden,-Wall,-Wextra,-Wno-unused-function)
  if(GRADSTEP_WERROR)
    target_compile_options(gradstep_cuda PRIVATE -Werror=all-warnings -Xcompiler=-Werror)
  endif()
  set_target_properties(gradstep_cuda PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  target_link_libraries(gradstep_cuda PRIVATE dl)
  install(TARGETS gradstep_cuda DESTINATION gradstep)
endif()
message(STATUS "gradstep CUDA part: ${_gradstep_cuda}")
