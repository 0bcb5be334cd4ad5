/* Sum of each window, times what stands for one over its elements; outside of the input is 0. */
void average_pool_@(const IN *x, OUT *y, const struct window *w, int32_t channels,
                    int32_t zero, int32_t factor, struct scale scale)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        for (int32_t out_y = 0; out_y < w->out_height; out_y++) {
            for (int32_t out_x = 0; out_x < w->out_width; out_x++) {
                int32_t total = 0;
                for (int32_t i = 0; i < w->kernel_height; i++) {
                    const int32_t at_y = out_y * w->stride_y - w->top + i * w->hole_y;
                    if (at_y < 0 || at_y >= w->in_height)
                        continue;
                    for (int32_t j = 0; j < w->kernel_width; j++) {
                        const int32_t at_x = out_x * w->stride_x - w->left + j * w->hole_x;
                        if (at_x >= 0 && at_x < w->in_width)
                            total += (int32_t)x[at_y * w->in_width + at_x] - zero;
                    }
                }
                *y++ = (OUT)scaled(total * factor, scale, 0);
            }
        }
        x += w->in_height * w->in_width;
    }
}
