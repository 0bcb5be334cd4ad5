/* Largest code in each window: of its rows first, then of its columns. What lies outside of the
   input counts for nothing. */
WIDE void max_pool_@(const IN *x, OUT *restrict y, IN *restrict line, const struct window *w,
                     int32_t channels, int32_t least, int32_t factor, int32_t offset,
                     int32_t shift, int32_t low, int32_t high)
{
    const int32_t width = w->in_width, stride = w->stride_x;
    IN *restrict most = line + width;

    for (int32_t channel = 0; channel < channels; channel++) {
        for (int32_t out_y = 0; out_y < w->out_height; out_y++) {
            int32_t first, end;
            for (int32_t i = 0; i < width + w->out_width; i++)
                line[i] = (IN)least;
            inside(out_y * w->stride_y - w->top, w->hole_y, w->in_height, w->kernel_height,
                   &first, &end);
            for (int32_t i = first; i < end; i++) {
                const IN *row = x + (out_y * w->stride_y - w->top + i * w->hole_y) * width;
                for (int32_t j = 0; j < width; j++)
                    line[j] = row[j] > line[j] ? row[j] : line[j];
            }
            for (int32_t j = 0; j < w->kernel_width; j++) {
                const int32_t start = j * w->hole_x - w->left;
                inside(start, stride, width, w->out_width, &first, &end);
                for (int32_t i = first; i < end; i++) {
                    const IN here = line[start + i * stride];
                    most[i] = here > most[i] ? here : most[i];
                }
            }
            for (int32_t i = 0; i < w->out_width; i++)
                *y++ = (OUT)requantize((int32_t)most[i] * factor + offset, shift, low, high);
        }
        x += w->in_height * width;
    }
}
