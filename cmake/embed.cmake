# SPDX-License-Identifier: Apache-2.0
# Writes headers as strings, for what is compiled at run time (cuda/nvrtc.cu):
#   cmake -DOUT=runtime_headers.h -DROOT=.. -DFILES="cpp/fn/math.h,cuda/strides.h" -P embed.cmake
string(REPLACE "," ";" FILES "${FILES}")
set(names "")
set(texts "")
foreach(file ${FILES})
  file(READ "${ROOT}/${file}" text)
  string(REGEX REPLACE "^cpp/" "" name "${file}")
  string(APPEND names "    \"${name}\",\n")
  string(APPEND texts "    R\"gs_text(${text})gs_text\",\n")
endforeach()
list(LENGTH FILES count)
# What NVRTC lacks of the standard library.
math(EXPR count "${count} + 2")
file(WRITE "${OUT}" "// Written by cmake/embed.cmake.
#pragma once
constexpr int kRuntimeHeaders = ${count};
static const char* const kRuntimeHeaderNames[] = {
${names}    \"cstdint\",
    \"utility\",
};
static const char* const kRuntimeHeaderTexts[] = {
${texts}    R\"gs_text(#pragma once
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef unsigned long long uintptr_t;
#define __builtin_huge_val() __builtin_bit_cast(double, 0x7ff0000000000000ULL)
#define __builtin_nan(x) __builtin_bit_cast(double, 0x7ff8000000000000ULL)
)gs_text\",
    R\"gs_text(#pragma once
namespace std {
template <class T, T... I>
struct integer_sequence {};
template <class T, int N, T... I>
struct sequence_of : sequence_of<T, N - 1, T(N - 1), I...> {};
template <class T, T... I>
struct sequence_of<T, 0, I...> {
  using type = integer_sequence<T, I...>;
};
template <class T, T N>
using make_integer_sequence = typename sequence_of<T, int(N)>::type;
}
)gs_text\",
};
")
