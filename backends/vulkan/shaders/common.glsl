// common.glsl: what all shaders share.
//
// Values lie in memory as STORED: float, or with HALF float16_t, and are floats once they are loaded. Four side by
// side are a STORED4. What the host prepares for one shader (bias, scale, gamma) is float in both. Few shaders turn
// one into the other: what these write is a RESULT, with TO_FLOAT or TO_HALF.

#if defined(HALF) || defined(TO_HALF)
#extension GL_EXT_shader_16bit_storage : require
#endif
#ifdef HALF
#define STORED  float16_t
#define STORED4 f16vec4
#else
#define STORED  float
#define STORED4 vec4
#endif
// Most element-wise shaders have a build with FOUR for values whose innermost extent is a multiple of four: a T is what an
// invocation computes, WIDTH floats.
#ifdef FOUR
#define T        vec4
#define STORED_T STORED4
#define WIDTH    4
#else
#define T        float
#define STORED_T STORED
#define WIDTH    1
#endif
#if defined(TO_FLOAT)
#define RESULT float
#elif defined(TO_HALF)
#define RESULT float16_t
#else
#define RESULT STORED
#endif

// Workgroups along x, continued in y where drivers end.
uint flat_group()
{
    return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}

#define FLAT_ID (flat_group() * gl_WorkGroupSize.x + gl_LocalInvocationID.x)

// ORDER strata_act
const uint ACT_NONE = 0, ACT_RELU = 1, ACT_RELU6 = 2, ACT_HSWISH = 3, ACT_HSIGMOID = 4, ACT_SIGMOID = 5,
           ACT_SILU = 6, ACT_GELU = 7;

// Below exp(-80) nothing is left beside 1, and above it exp would overflow.
#define SIGMOID(x) (1.0 / (1.0 + exp(min(-(x), 80.0))))

// For float and vec4. gelu: 1 + tanh(u) = 2 sigmoid(2u), without the cancellation of the left side.
#define DEFINE_ACTIVATE(T)                                                                          \
    T activate(uint act, T x)                                                                       \
    {                                                                                               \
        switch (act) {                                                                              \
        case ACT_RELU: return max(x, T(0.0));                                                       \
        case ACT_RELU6: return clamp(x, T(0.0), T(6.0));                                            \
        case ACT_HSWISH: return x * (clamp(x + 3.0, T(0.0), T(6.0)) / 6.0);                         \
        case ACT_HSIGMOID: return clamp(x + 3.0, T(0.0), T(6.0)) / 6.0;                             \
        case ACT_SIGMOID: return SIGMOID(x);                                                        \
        case ACT_SILU: return x * SIGMOID(x);                                                       \
        case ACT_GELU: return x * SIGMOID(1.5957691216057308 * (x + 0.044715 * x * x * x));         \
        default: return x;                                                                          \
        }                                                                                           \
    }
DEFINE_ACTIVATE(float)
DEFINE_ACTIVATE(vec4)
