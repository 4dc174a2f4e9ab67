/* Which builds of the kernels this CPU can run. */
#include <string.h>

#include "kernels.h"

extern const gf_kernels gf_kernels_baseline;

#ifdef GF_X86_LEVELS
extern const gf_kernels gf_kernels_v3, gf_kernels_v4;

const char *const gf_instruction_sets[] = {"x86-64-v4", "x86-64-v3", "baseline", NULL};

static int has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}
static int has_v4(void) {
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

const gf_kernels *gf_kernels_for(const char *isa) {
    __builtin_cpu_init();
    if (strcmp(isa, "x86-64-v4") == 0) return has_v4() ? &gf_kernels_v4 : NULL;
    if (strcmp(isa, "x86-64-v3") == 0) return has_v3() ? &gf_kernels_v3 : NULL;
    return strcmp(isa, "baseline") == 0 ? &gf_kernels_baseline : NULL;
}
#else
const char *const gf_instruction_sets[] = {"baseline", NULL};

const gf_kernels *gf_kernels_for(const char *isa) {
    return strcmp(isa, "baseline") == 0 ? &gf_kernels_baseline : NULL;
}
#endif
