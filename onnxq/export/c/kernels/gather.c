/* What lies under a window, channel by channel; what is outside of the input has one code. */
static void gather_@(const IN *x, PATCH *patch, const struct window *w, int32_t channels,
                     int32_t outside, int32_t first_y, int32_t first_x)
{
    const int32_t plane = w->in_height * w->in_width, taps = w->kernel_height * w->kernel_width;

    for (int32_t i = 0; i < w->kernel_height; i++) {
        const int32_t at_y = first_y + i * w->hole_y;
        for (int32_t j = 0; j < w->kernel_width; j++, patch++) {
            const int32_t at_x = first_x + j * w->hole_x;
            if (at_y < 0 || at_y >= w->in_height || at_x < 0 || at_x >= w->in_width) {
                for (int32_t channel = 0; channel < channels; channel++)
                    patch[channel * taps] = (PATCH)outside;
            } else {
                const IN *from = x + at_y * w->in_width + at_x;
                for (int32_t channel = 0; channel < channels; channel++)
                    patch[channel * taps] = (PATCH)from[channel * plane];
            }
        }
    }
}
