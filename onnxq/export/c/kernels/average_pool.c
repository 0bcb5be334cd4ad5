/* Sum of each window, times what stands for one over its elements; outside of the input is 0. */
void average_pool_@(const IN *x, OUT *restrict y, const struct window *w, int32_t channels,
                    int32_t zero, int32_t factor, struct scale scale)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        for (int32_t out_y = 0; out_y < w->out_height; out_y++) {
            const int32_t start_y = out_y * w->stride_y - w->top;
            int32_t top, bottom;
            inside(start_y, w->hole_y, w->in_height, w->kernel_height, &top, &bottom);
            for (int32_t out_x = 0; out_x < w->out_width; out_x++) {
                const int32_t start_x = out_x * w->stride_x - w->left;
                int32_t left, right, total = 0;
                inside(start_x, w->hole_x, w->in_width, w->kernel_width, &left, &right);
                for (int32_t i = top; i < bottom; i++) {
                    const IN *row = x + (start_y + i * w->hole_y) * w->in_width;
                    for (int32_t j = left; j < right; j++)
                        total += (int32_t)row[start_x + j * w->hole_x] - zero;
                }
                *y++ = (OUT)scaled(total * factor, scale, 0);
            }
        }
        x += w->in_height * w->in_width;
    }
}
