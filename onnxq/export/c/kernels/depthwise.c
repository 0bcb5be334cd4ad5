/* Convolution of each channel on its own. */
void depthwise_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale, OUT *y,
                 const struct conv *c)
{
    const struct window *w = &c->window;

    for (int32_t channel = 0; channel < c->groups; channel++) {
        for (int32_t out_y = 0; out_y < w->out_height; out_y++) {
            for (int32_t out_x = 0; out_x < w->out_width; out_x++) {
                int32_t acc = bias[channel];
                for (int32_t i = 0; i < w->kernel_height; i++) {
                    const int32_t at_y = out_y * w->stride_y - w->top + i * w->hole_y;
                    const int inside = at_y >= 0 && at_y < w->in_height;
                    for (int32_t j = 0; j < w->kernel_width; j++) {
                        const int32_t at_x = out_x * w->stride_x - w->left + j * w->hole_x;
                        const int here = inside && at_x >= 0 && at_x < w->in_width;
                        const int32_t code = here ? x[at_y * w->in_width + at_x] : c->outside;
                        acc += code * (int32_t)weight[i * w->kernel_width + j];
                    }
                }
                *y++ = (OUT)scaled(acc, scale, channel);
            }
        }
        x += w->in_height * w->in_width;
        weight += w->kernel_height * w->kernel_width;
    }
}
