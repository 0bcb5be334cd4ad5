#ifndef FIXED_H
#define FIXED_H

#include <stdint.h>

/* x / 2^n rounded down, for 0 <= n <= 31: a shift that is defined for negative numbers. */
static inline int32_t shift_down(int32_t x, int32_t n)
{
    const int32_t sign = -(x < 0);

    return ((x ^ sign) >> n) ^ sign;
}

/* x / 2^n for 0 <= n <= 31, rounded @MODE@. */
static inline int32_t shift_round(int32_t x, int32_t n)
{
@ROUND@
}

/* x * 2^n for 0 <= n <= 30; what leaves 32 bits stays at their limit. */
static inline int32_t shift_up(int32_t x, int32_t n)
{
    const int32_t most = INT32_MAX >> n;
    const int32_t kept = x > most ? most : x < -most - 1 ? -most - 1 : x;
    return kept * ((int32_t)1 << n);
}

/* The code of an accumulator: shifted right (left where shift is negative), then clipped. */
static inline int32_t requantize(int32_t acc, int32_t shift, int32_t low, int32_t high)
{
    const int32_t code = shift > 0 ? shift_round(acc, shift) : shift_up(acc, -shift);
    return code < low ? low : code > high ? high : code;
}

@SCALED@
#endif
