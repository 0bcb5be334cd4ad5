/* Convolution. The patches under a block of output pixels are gathered once and meet every filter,
   eight sums at a time: two filters with four pixels, so that each load serves several sums, which
   stay in vector registers. Filters are filled up with zeros, so that vectors have no rest. */
WIDE void conv_blocks_@(const IN *x, const W *weight, const int32_t *bias, struct scale scale,
                        OUT *restrict y, PATCH *restrict patch, const struct conv *c)
{
    const struct window *w = &c->window;
    const int32_t pixels = w->out_height * w->out_width, taps = c->taps;
    PATCH *f = patch + BLOCK * taps;

    for (int32_t channel = 0; channel < c->groups * c->out_channels; channel += c->out_channels) {
        for (int32_t pixel = 0; pixel < pixels; pixel += BLOCK) {
            const int32_t left = pixels - pixel, count = left < BLOCK ? left : BLOCK;
            for (int32_t p = 0; p < (count + 3) / 4 * 4; p++) /* behind the last one, it again */
                gather_@(x, patch + p * taps, c, p < count ? pixel + p : pixels - 1);
            for (int32_t o = 0; o < c->out_channels; o += 2) {
                const int32_t filters = o + 1 < c->out_channels ? 2 : 1;
                const PATCH *g = f + (filters - 1) * taps; /* the last one again */
                int32_t acc[2][BLOCK];
                for (int32_t k = 0; k < filters * taps; k++)
                    f[k] = (PATCH)weight[(channel + o) * taps + k];
                for (int32_t p = 0; p < count; p += 4) {
                    const PATCH *a = patch + p * taps, *b = a + taps, *d = b + taps, *e = d + taps;
                    int32_t af = 0, bf = 0, df = 0, ef = 0, ag = 0, bg = 0, dg = 0, eg = 0;
                    for (int32_t k = 0; k < taps; k++) {
                        af += (int32_t)a[k] * (int32_t)f[k];
                        bf += (int32_t)b[k] * (int32_t)f[k];
                        df += (int32_t)d[k] * (int32_t)f[k];
                        ef += (int32_t)e[k] * (int32_t)f[k];
                        ag += (int32_t)a[k] * (int32_t)g[k];
                        bg += (int32_t)b[k] * (int32_t)g[k];
                        dg += (int32_t)d[k] * (int32_t)g[k];
                        eg += (int32_t)e[k] * (int32_t)g[k];
                    }
                    acc[0][p] = af, acc[0][p + 1] = bf, acc[0][p + 2] = df, acc[0][p + 3] = ef;
                    acc[1][p] = ag, acc[1][p + 1] = bg, acc[1][p + 2] = dg, acc[1][p + 3] = eg;
                }
                for (int32_t i = 0; i < filters; i++) {
                    const int32_t at = channel + o + i;
                    for (int32_t p = 0; p < count; p++)
                        y[at * pixels + pixel + p] = (OUT)scaled(acc[i][p] + bias[at], scale, at);
                }
            }
        }
        x += c->in_channels * w->in_height * w->in_width;
    }
}
