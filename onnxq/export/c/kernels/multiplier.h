/* x * multiplier / 2^31, rounded half up. */
static inline int32_t multiply_high(int32_t x, int32_t multiplier)
{
    const int64_t product = (int64_t)x * multiplier + (INT64_C(1) << 30);

    return (int32_t)(product >= 0 ? product >> 31 : ~(~product >> 31));
}

/* The code of an accumulator of a channel: a shift to the left, the multiplier, a shift to the
   right, the zero point. */
static inline int32_t scaled(int32_t acc, struct scale scale, int32_t channel)
{
    const int32_t shift = scale.shift[channel], multiplier = scale.multiplier[channel];
    const int32_t part = multiply_high(shift < 0 ? shift_up(acc, -shift) : acc, multiplier);

    return requantize(part, shift > 0 ? shift : 0, scale.low - scale.zero, scale.high - scale.zero)
         + scale.zero;
}
