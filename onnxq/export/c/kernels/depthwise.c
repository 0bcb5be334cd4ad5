/* Convolution of each channel on its own; codes less that around the input, which adds nothing. */
void depthwise_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale, OUT *y,
                 const struct conv *c)
{
    const struct window *w = &c->window;

    for (int32_t channel = 0; channel < c->groups; channel++) {
        for (int32_t out_y = 0; out_y < w->out_height; out_y++) {
            const int32_t start_y = out_y * w->stride_y - w->top;
            int32_t top, bottom;
            clip_window(start_y, w->hole_y, w->kernel_height, w->in_height, &top, &bottom);
            for (int32_t out_x = 0; out_x < w->out_width; out_x++) {
                const int32_t start_x = out_x * w->stride_x - w->left;
                int32_t left, right, acc = bias[channel];
                clip_window(start_x, w->hole_x, w->kernel_width, w->in_width, &left, &right);
                for (int32_t i = top; i < bottom; i++) {
                    const IN *row = x + (start_y + i * w->hole_y) * w->in_width;
                    for (int32_t j = left; j < right; j++)
                        acc += ((int32_t)row[start_x + j * w->hole_x] - c->outside)
                             * (int32_t)weight[i * w->kernel_width + j];
                }
                *y++ = (OUT)scaled(acc, scale, channel);
            }
        }
        x += w->in_height * w->in_width;
        weight += w->kernel_height * w->kernel_width;
    }
}
