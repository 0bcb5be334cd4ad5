/* Convolution: the patch under an output pixel is gathered once and meets every filter. */
void conv_@(const IN *x, const W *weight, const int32_t *bias, const int8_t *shift, OUT *y,
            IN *patch, const struct conv *c, int32_t low, int32_t high)
{
    const struct window *w = &c->window;
    const int32_t pixels = w->out_height * w->out_width;
    const int32_t taps = c->in_channels * w->kernel_height * w->kernel_width;

    for (int32_t group = 0; group < c->groups; group++) {
        for (int32_t pixel = 0; pixel < pixels; pixel++) {
            const int32_t first_y = pixel / w->out_width * w->stride_y - w->top;
            const int32_t first_x = pixel % w->out_width * w->stride_x - w->left;
            gather_@(x, patch, w, c->in_channels, first_y, first_x);
            for (int32_t o = 0; o < c->out_channels; o++) {
                const W *row = weight + o * taps;
                int32_t acc = bias[o];
                for (int32_t k = 0; k < taps; k++)
                    acc += (int32_t)patch[k] * (int32_t)row[k];
                y[o * pixels + pixel] = (OUT)requantize(acc, shift[o], low, high);
            }
        }
        x += c->in_channels * w->in_height * w->in_width;
        y += c->out_channels * pixels;
        weight += c->out_channels * taps;
        bias += c->out_channels;
        shift += c->out_channels;
    }
}
