/* The code of an accumulator of a channel; no shift is to the left. */
static inline int32_t scaled(int32_t acc, struct scale scale, int32_t channel)
{
    const int32_t code = shift_round(acc, scale.shift[channel]);

    return code < scale.low ? scale.low : code > scale.high ? scale.high : code;
}
