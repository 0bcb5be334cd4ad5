/* Convolution of each channel on its own, a row at a time; codes less that around the input, which
   adds nothing. */
WIDE void depthwise_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale,
                      OUT *restrict y, int32_t *restrict line, const struct conv *c)
{
    const struct window *w = &c->window;

    for (int32_t channel = 0; channel < c->groups; channel++) {
        for (int32_t out_y = 0; out_y < w->out_height; out_y++) {
            for (int32_t out_x = 0; out_x < w->out_width; out_x++)
                line[out_x] = bias[channel];
            for (int32_t i = 0; i < w->kernel_height; i++) {
                const int32_t in_y = out_y * w->stride_y - w->top + i * w->hole_y;
                if (in_y < 0 || in_y >= w->in_height)
                    continue;
                for (int32_t j = 0; j < w->kernel_width; j++) {
                    const int32_t tap = (int32_t)weight[i * w->kernel_width + j];
                    const int32_t stride = w->stride_x, shift = j * w->hole_x - w->left;
                    const int32_t start = in_y * w->in_width + shift;
                    int32_t first, end;
                    inside(shift, stride, w->in_width, w->out_width, &first, &end);
                    for (int32_t out_x = first; out_x < end; out_x++)
                        line[out_x] += ((int32_t)x[start + out_x * stride] - c->outside) * tap;
                }
            }
            for (int32_t out_x = 0; out_x < w->out_width; out_x++)
                *y++ = (OUT)scaled(line[out_x], scale, channel);
        }
        x += w->in_height * w->in_width;
        weight += w->kernel_height * w->kernel_width;
    }
}
