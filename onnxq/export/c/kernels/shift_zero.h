/* The code of an accumulator of a channel: a shift, then the zero point. */
static inline int32_t scaled(int32_t acc, struct scale scale, int32_t channel)
{
    return requantize(acc, scale.shift[channel], scale.low - scale.zero, scale.high - scale.zero)
         + scale.zero;
}
