// Vectors of 16 floats, which the compiler lowers to what the machine has, and threads. Used by volume.cpp.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kLanes = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t HalfWords __attribute__((vector_size(32)));

inline Floats fill(float value) { return value - Floats{}; }

inline Floats select(Ints condition, Floats yes, Floats no) {
  return condition ? yes : no;
}

// exp(x) for x <= 0, to 2 units in the last place; 0 below -87.7. NaN stays NaN; x > 0 gives a value without meaning.
inline Floats exp_nonpositive(Floats x) {
  const Floats least = fill(-88.0f);  // its power of two is 2^-127, whose exponent bits are those of zero
  x = least > x ? least : x;          // NaN compares false and stays
  // 1.5 * 2^23 + 127: adding it leaves the nearest integer, biased as an exponent is, in the low bits.
  const Floats round = fill(12583039.0f);
  const Floats shifted = x * 1.44269504088896341f + round;
  const Floats power = shifted - round;
  const Floats r = (x - power * 0.693145751953125f) - power * 1.42860682030941723212e-6f;  // ln 2 in two parts
  Floats series = fill(1.9875691500e-4f);  // Cephes expf
  series = series * r + 1.3981999507e-3f;
  series = series * r + 8.3334519073e-3f;
  series = series * r + 4.1665795894e-2f;
  series = series * r + 1.6666665459e-1f;
  series = series * r + 5.0000001201e-1f;
  series = series * (r * r) + r + 1.0f;
  return series * (Floats)((Ints)shifted << 23);
}

inline Floats load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline Floats load(const uint16_t* from) {  // bfloat16: the upper half of a float32
  HalfWords upper;
  std::memcpy(&upper, from, sizeof(upper));
  return (Floats)(__builtin_convertvector(upper, Words) << 16);
}

inline float to_float(float value) { return value; }

inline float to_float(uint16_t bfloat16) {
  const uint32_t bits = uint32_t(bfloat16) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline void store(float* to, Floats value) { std::memcpy(to, &value, sizeof(value)); }

inline void store(uint16_t* to, Floats value) {  // to the nearest bfloat16, ties to even
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Ints is_nan = value != value;  // rounding could carry a NaN into the sign
  const Words result = (rounded & ~(Words)is_nan) | (0x7fc0u & (Words)is_nan);
  const HalfWords upper = __builtin_convertvector(result, HalfWords);
  std::memcpy(to, &upper, sizeof(upper));
}

template <typename T>
inline Floats load_first(const T* from, int64_t count) {
  T padded[kLanes] = {};
  std::memcpy(padded, from, count * sizeof(T));
  return load(padded);
}

template <typename T>
inline void store_first(T* to, Floats value, int64_t count) {
  T padded[kLanes];
  store(padded, value);
  std::memcpy(to, padded, count * sizeof(T));
}

inline float sum(Floats value) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += value[i];
  return total;
}

inline float maximum(Floats value) {
  float largest = value[0];
  for (int i = 1; i < kLanes; ++i) largest = value[i] > largest ? value[i] : largest;
  return largest;
}

// Calls work(unit) for every unit, on several threads. With OpenMP they are the threads torch itself computes on: others
// would wait for a core while torch's still spin after their last operation.
template <typename Work>
void in_parallel(int64_t units, int64_t num_threads, const Work& work) {
  const int64_t most = num_threads < units ? num_threads : units;
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic) num_threads(int(most > 0 ? most : 1))
  for (int64_t unit = 0; unit < units; ++unit) work(unit);
#else
  std::atomic<int64_t> next{0};
  auto worker = [&] {
    for (int64_t unit; (unit = next++) < units;) work(unit);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < most; ++i) others.emplace_back(worker);
  worker();
  for (auto& thread : others) thread.join();
#endif
}

}  // namespace
