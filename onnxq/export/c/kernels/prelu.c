/* Times one number above the zero point, times that of the channel below. */
void prelu_@(const IN *x, OUT *restrict y, const int32_t *below, int32_t channels,
             int32_t slopes, int32_t each, int32_t above, int32_t zero, struct scale scale)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        const int32_t slope = below[slopes == 1 ? 0 : channel];
        for (int32_t i = 0; i < each; i++) {
            const int32_t steps = (int32_t)*x++ - zero;
            *y++ = (OUT)scaled(steps * (steps < 0 ? slope : above), scale, 0);
        }
    }
}
