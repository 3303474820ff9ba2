// The two loops of the volume operator that touch every voxel, for CPUs. See fused.py for the mathematics.
//
// A volume lies in memory as (N, A, B, G, K), contiguous; joint q is volume (n, g) with q = n * G + g.
// A "plane" is the B x K voxels of one joint at one place on axis A: small enough for the L1 cache.
// Everything is written on vectors of 16 floats, which the compiler lowers to what the machine has.

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

struct Shape {
  int64_t N, A, B, G, K;
  int64_t padded_K() const { return (K + kLanes - 1) / kLanes * kLanes; }
  int64_t row(int64_t n, int64_t a, int64_t b, int64_t g) const { return (((n * A + a) * B + b) * G + g) * K; }
};

inline Floats fill(float value) { return value - Floats{}; }

inline Floats select(Ints condition, Floats yes, Floats no) {
  return (Floats)(((Ints)yes & condition) | ((Ints)no & ~condition));
}

// exp(x) for x <= 0, to 2 units in the last place; 0 below -87. NaN stays NaN; x > 0 gives a value without meaning.
inline Floats exp_nonpositive(Floats x) {
  const Floats round = fill(12582912.0f);  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
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
  const Floats scale = (Floats)(((Ints)shifted - (Ints)round + 127) << 23);
  return select(x < -87.0f, Floats{}, series * scale);
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

template <typename Work>
void in_parallel(int64_t units, int64_t num_threads, const Work& work) {
  std::atomic<int64_t> next{0};
  auto worker = [&] {
    for (int64_t unit; (unit = next++) < units;) work(unit);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < num_threads && i < units; ++i) others.emplace_back(worker);
  worker();
  for (auto& thread : others) thread.join();
}

// What is kept of a plane; read by compiled.py in this order. Sums are of e = exp(x - top).
struct PlaneSums {
  float top, sum_1, moment_b, moment_k, sum_2, sum_3, sum_4, peak_index, peak;
};

// The plane as float32 rows padded with -inf to whole vectors; returns its largest logit, NaN if any is not finite.
template <typename T>
float read_plane(const T* volume, const Shape& shape, int64_t n, int64_t a, int64_t g, float* plane) {
  Floats top = fill(-kInfinity), zero_if_finite = {};
  const int64_t whole = shape.K / kLanes * kLanes, rest = shape.K - whole;
  for (int64_t b = 0; b < shape.B; ++b) {
    const T* row = volume + shape.row(n, a, b, g);
    float* packed = plane + b * shape.padded_K();
    for (int64_t k = 0; k < whole; k += kLanes) {
      const Floats x = load(row + k);
      zero_if_finite += x * 0.0f;
      top = select(x > top, x, top);
      store(packed + k, x);
    }
    if (rest) {
      const Floats x = load_first(row + whole, rest);
      zero_if_finite += x * 0.0f;
      Floats padded = x;
      for (int64_t i = rest; i < kLanes; ++i) padded[i] = -kInfinity;
      top = select(padded > top, padded, top);
      store(packed + whole, padded);
    }
  }
  return maximum(top) + sum(zero_if_finite);
}

template <bool kPowers>
PlaneSums sum_plane(const float* plane, float top, const Shape& shape, const float* centers_b, const float* centers_k) {
  Floats sum_1 = {}, moment_b = {}, moment_k = {}, sum_2 = {}, sum_3 = {}, sum_4 = {};
  for (int64_t b = 0; b < shape.B; ++b) {
    const float* row = plane + b * shape.padded_K();
    Floats row_sum = {};
    for (int64_t k = 0; k < shape.padded_K(); k += kLanes) {
      const Floats e = exp_nonpositive(load(row + k) - top);
      row_sum += e;
      moment_k += e * load(centers_k + k);
      if (kPowers) {
        const Floats e_2 = e * e;
        sum_2 += e_2;
        sum_3 += e_2 * e;
        sum_4 += e_2 * e_2;
      }
    }
    sum_1 += row_sum;
    moment_b += row_sum * centers_b[b];
  }
  return {top, sum(sum_1), sum(moment_b), sum(moment_k), sum(sum_2), sum(sum_3), sum(sum_4), 0, 0};
}

// The sums of a plane over every voxel but its largest, and where that one lies and what it is.
template <bool kPowers>
PlaneSums sum_plane_without_peak(float* plane, float top, const Shape& shape, const float* centers_b,
                                 const float* centers_k) {
  const int64_t size = shape.B * shape.padded_K();
  int64_t peak = 0;
  while (peak < size && plane[peak] != top) ++peak;
  if (peak == size) peak = 0;  // top is NaN, and so will every result be
  plane[peak] = -kInfinity;
  float top_of_others = -kInfinity;
  for (int64_t i = 0; i < size; ++i) top_of_others = plane[i] > top_of_others ? plane[i] : top_of_others;
  PlaneSums sums = {};
  if (top_of_others > -kInfinity) sums = sum_plane<kPowers>(plane, top_of_others, shape, centers_b, centers_k);
  sums.top = top_of_others;
  sums.peak_index = float(peak / shape.padded_K() * shape.K + peak % shape.padded_K());
  sums.peak = top;
  return sums;
}

template <typename T, bool kPowers>
void sum_planes(const T* volume, const Shape& shape, const float* centers_b, const float* centers_k,
                const int64_t* peak_planes, int64_t num_threads, PlaneSums* sums) {
  in_parallel(peak_planes ? shape.N : shape.N * shape.A, num_threads, [&](int64_t unit) {
    thread_local std::vector<float> plane;
    plane.resize(shape.B * shape.padded_K());
    for (int64_t g = 0; g < shape.G; ++g) {
      const int64_t n = peak_planes ? unit : unit / shape.A, joint = n * shape.G + g;
      const int64_t a = peak_planes ? peak_planes[joint] : unit % shape.A;
      const float top = read_plane(volume, shape, n, a, g, plane.data());
      if (peak_planes)
        sums[joint] = sum_plane_without_peak<kPowers>(plane.data(), top, shape, centers_b, centers_k);
      else
        sums[joint * shape.A + a] = sum_plane<kPowers>(plane.data(), top, shape, centers_b, centers_k);
    }
  });
}

// Tables of the gradient of each joint; the first fields of fused.GradientTables.
struct Joint {
  float shift, log_sum, others, pull, weight, peak_gradient;
};

template <bool kHeatmap>
inline Floats gradient(Floats x, const Joint& joint, Floats slope, Floats target) {
  const Floats among_others = exp_nonpositive((x - joint.shift) - joint.log_sum);
  const Floats p = among_others * joint.others;
  Floats result = p * slope;
  if (kHeatmap) result += (p * joint.weight - target) / (1.0f - p) - among_others * joint.pull;
  return result;
}

template <typename T, bool kHeatmap>
void write_gradient(const T* volume, const Shape& shape, const Joint* joints, const int64_t* peak_offsets,
                    const float* slope_a, const float* slope_b, const float* slope_k, const float* target_a,
                    const float* target_b, const float* target_k, int64_t num_threads, T* result) {
  const int64_t whole = shape.K / kLanes * kLanes, rest = shape.K - whole;
  in_parallel(shape.N * shape.A, num_threads, [&](int64_t unit) {
    const int64_t n = unit / shape.A, a = unit % shape.A;
    for (int64_t b = 0; b < shape.B; ++b) {
      for (int64_t g = 0; g < shape.G; ++g) {
        const int64_t q = n * shape.G + g, row = shape.row(n, a, b, g);
        const Joint joint = joints[q];
        const float slope = slope_a[q * shape.A + a] + slope_b[q * shape.B + b];
        const float target = kHeatmap ? target_a[q * shape.A + a] * target_b[q * shape.B + b] : 0.0f;
        const float* along_k = slope_k + q * shape.padded_K();
        const float* target_along_k = kHeatmap ? target_k + q * shape.padded_K() : along_k;
        for (int64_t k = 0; k < whole; k += kLanes)
          store(result + row + k, gradient<kHeatmap>(load(volume + row + k), joint, slope + load(along_k + k),
                                                     target * load(target_along_k + k)));
        if (rest)
          store_first(result + row + whole,
                      gradient<kHeatmap>(load_first(volume + row + whole, rest), joint, slope + load(along_k + whole),
                                         target * load(target_along_k + whole)),
                      rest);
        const int64_t peak = peak_offsets[q] - row;
        if (peak >= 0 && peak < shape.K) store_first(result + row + peak, fill(joint.peak_gradient), 1);
      }
    }
  });
}

}  // namespace

#define INSTANTIATE(name, T)                                                                                          \
  extern "C" void sum_planes_##name(const T* volume, const int64_t* shape, const float* centers_b,                    \
                                    const float* centers_k, const int64_t* peak_planes, int64_t with_powers,          \
                                    int64_t num_threads, float* sums) {                                               \
    (with_powers ? sum_planes<T, true> : sum_planes<T, false>)(volume, *(const Shape*)shape, centers_b, centers_k,    \
                                                               peak_planes, num_threads, (PlaneSums*)sums);           \
  }                                                                                                                   \
  extern "C" void write_gradient_##name(                                                                              \
      const T* volume, const int64_t* shape, const float* joints, const int64_t* peak_offsets, const float* slope_a,  \
      const float* slope_b, const float* slope_k, const float* target_a, const float* target_b,                       \
      const float* target_k, int64_t num_threads, T* result) {                                                        \
    (target_a ? write_gradient<T, true> : write_gradient<T, false>)(                                                  \
        volume, *(const Shape*)shape, (const Joint*)joints, peak_offsets, slope_a, slope_b, slope_k, target_a,        \
        target_b, target_k, num_threads, result);                                                                     \
  }

INSTANTIATE(float32, float)
INSTANTIATE(bfloat16, uint16_t)
