/* Convolution. The patches under four output pixels are gathered once and meet every filter, so
   that a compiler can keep the four sums in vector registers and load each weight once. */
WIDE void conv_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale,
                 OUT *restrict y, PATCH *restrict patch, const struct conv *c)
{
    const struct window *w = &c->window;
    const int32_t pixels = w->out_height * w->out_width, taps = c->taps;
    const PATCH *a = patch, *b = a + taps, *d = b + taps, *e = d + taps;

    for (int32_t group = 0; group < c->groups; group++) {
        for (int32_t pixel = 0; pixel < pixels; pixel += 4) {
            const int32_t count = pixels - pixel < 4 ? pixels - pixel : 4;
            for (int32_t p = 0; p < 4; p++) {
                const int32_t at = p < count ? pixel + p : pixels - 1; /* the last one again */
                gather_@(x, patch + p * taps, c, at);
            }
            for (int32_t o = 0; o < c->out_channels; o++) {
                const W *row = weight + o * taps;
                int32_t s = bias[o], t = bias[o], u = bias[o], v = bias[o];
                for (int32_t k = 0; k < taps; k++) {
                    s += (int32_t)a[k] * (int32_t)row[k];
                    t += (int32_t)b[k] * (int32_t)row[k];
                    u += (int32_t)d[k] * (int32_t)row[k];
                    v += (int32_t)e[k] * (int32_t)row[k];
                }
                const int32_t acc[4] = {s, t, u, v};
                for (int32_t p = 0; p < count; p++)
                    y[o * pixels + pixel + p] = (OUT)scaled(acc[p], scale,
                                                            group * c->out_channels + o);
            }
        }
        x += c->in_channels * w->in_height * w->in_width;
        y += c->out_channels * pixels;
        weight += c->out_channels * taps;
        bias += c->out_channels;
    }
}
