/* scene.c: paints examples/scene.png, a picture to try Strata on that belongs to nobody.
 *
 *     scene OUT.png
 *
 * A small ray tracer over a made-up place: sky and clouds, three ranges of mountains, a tiled yard, a brick
 * wall with a poster, a tree, a crate and three balls. It has what feature maps respond to: edges in all
 * directions, fine and coarse texture, smooth gradients, writing, reflections, and things near and far.
 *
 * The same pixels come out everywhere: the arithmetic is + - * / and sqrt on doubles, which IEEE 754 fixes to
 * the last bit, and the randomness is an integer hash. x points right, y up, z into the picture.
 */
#include <strata/strata.h>

#include <math.h>
#include <stdlib.h>

enum { WIDTH = 640, HEIGHT = 480, SAMPLES = 2, MAX_BOUNCES = 2 };

/* ---- Vectors and colours ------------------------------------------------------------------------ */

typedef struct vec {
    double x, y, z;
} vec;

static vec add(vec a, vec b) { return (vec){ a.x + b.x, a.y + b.y, a.z + b.z }; }
static vec sub(vec a, vec b) { return (vec){ a.x - b.x, a.y - b.y, a.z - b.z }; }
static vec mul(vec a, vec b) { return (vec){ a.x * b.x, a.y * b.y, a.z * b.z }; }
static vec scale(vec a, double s) { return (vec){ a.x * s, a.y * s, a.z * s }; }
static double dot(vec a, vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static vec unit(vec a) { return scale(a, 1 / sqrt(dot(a, a))); }
static vec mix(vec a, vec b, double t) { return add(scale(a, 1 - t), scale(b, t)); }
static double clamp(double v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

static double smooth(double from, double to, double v)
{
    double t = clamp((v - from) / (to - from));
    return t * t * (3 - 2 * t);
}

/* ---- Noise --------------------------------------------------------------------------------------- */

/* A uniform number in 0..1 for each point of a lattice. */
static double lattice(int x, int y, int z)
{
    uint32_t h = (uint32_t)x * 0x9e3779b1u ^ (uint32_t)y * 0x85ebca77u ^ (uint32_t)z * 0xc2b2ae3du;
    h = (h ^ h >> 15) * 0x2c1b3c6du;
    h = (h ^ h >> 12) * 0x297a2d39u;
    return (double)(h ^ h >> 15) / 4294967295.0;
}

/* Smoothly interpolated. `seed` tells different noises apart. */
static double noise(double x, double y, int seed)
{
    double fx = floor(x), fy = floor(y), u = x - fx, v = y - fy;
    int i = (int)fx, j = (int)fy;
    u = u * u * (3 - 2 * u);
    v = v * v * (3 - 2 * v);
    double top = lattice(i, j, seed) * (1 - u) + lattice(i + 1, j, seed) * u;
    double low = lattice(i, j + 1, seed) * (1 - u) + lattice(i + 1, j + 1, seed) * u;
    return top * (1 - v) + low * v;
}

/* Octaves of it, each half as strong and twice as fine. In 0..1, mostly near 0.5. */
static double cloudy(double x, double y, int octaves, int seed)
{
    double sum = 0, weight = 0.5;
    for (int i = 0; i < octaves; i++, weight /= 2, x = x * 2 + 17.3, y = y * 2 - 9.1)
        sum += weight * noise(x, y, seed + i);
    return sum;
}

/* ---- What is there -------------------------------------------------------------------------------- */

typedef enum kind { NOTHING, GROUND, WALL, CRATE, STRIPED, CHROME, MARBLE, TRUNK, LEAF } kind;

typedef struct ball {
    vec    at;
    double radius;
    kind   kind;
    double tint;
} ball;

enum { CLUSTERS = 9, LEAVES = 420 };

typedef struct scene {
    ball ball[3];
    ball cluster[CLUSTERS]; /* hulls of the leaves */
    ball leaf[CLUSTERS][LEAVES];
} scene;

typedef struct hit {
    double      distance;
    kind        kind;
    vec         point, normal;
    vec         local; /* the point in the crate's own axes */
    const ball *ball;
} hit;

static const vec eye = { 0, 1.62, -1.2 };
static const vec sun = { 0.62, 0.62, -0.48 }; /* behind the eye, on the right */
static const vec sunlight = { 1.34, 1.14, 0.86 }, skylight = { 0.36, 0.45, 0.62 };

static const double wall_x = -2.9, wall_from = 2.2, wall_to = 10.2, wall_top = 2.7;
static const vec crate_at = { 2.05, 0.62, 4.55 };
static const double crate_half = 0.62, crate_cos = 0.8, crate_sin = 0.6;
static const vec trunk_at = { 3.5, 0, 8.2 };

static void grow(scene *s)
{
    s->ball[0] = (ball){ { 0.15, 0.85, 4.9 }, 0.85, STRIPED, 0 };
    s->ball[1] = (ball){ { -1.35, 0.52, 3.7 }, 0.52, CHROME, 0 };
    s->ball[2] = (ball){ { 0.98, 0.3, 2.95 }, 0.3, MARBLE, 0 };

    static const double hull[CLUSTERS][4] = { /* place relative to the trunk, radius */
        { 0, 3.3, 0, 1.05 },      { -0.9, 2.9, -0.2, 0.80 }, { 0.9, 2.9, 0.1, 0.85 },
        { -0.4, 3.9, 0.2, 0.80 }, { 0.6, 3.8, -0.2, 0.80 },  { 0.1, 2.7, -0.7, 0.70 },
        { -1.35, 3.4, 0.2, 0.60 }, { 1.45, 3.4, 0.0, 0.65 }, { 0.1, 4.5, 0.0, 0.60 },
    };
    for (int c = 0; c < CLUSTERS; c++) {
        vec at = add(trunk_at, (vec){ hull[c][0], hull[c][1], hull[c][2] });
        s->cluster[c] = (ball){ at, hull[c][3] + 0.13, LEAF, 0 };
        for (int i = 0; i < LEAVES; i++) {
            vec d = { lattice(c, i, 1) - 0.5, lattice(c, i, 2) - 0.5, lattice(c, i, 3) - 0.5 };
            double depth = 0.55 + 0.45 * lattice(c, i, 4); /* most leaves are near the hull */
            s->leaf[c][i] = (ball){ add(at, scale(unit(d), hull[c][3] * depth)),
                                    0.035 + 0.05 * lattice(c, i, 5), LEAF, lattice(c, i, 6) };
        }
    }
}

static const double far_away = 1e9, nearest = 1e-6;

/* ---- Where a ray ends ------------------------------------------------------------------------------ */

static double meet_ball(const ball *b, vec from, vec dir)
{
    vec o = sub(from, b->at);
    double half = dot(o, dir), rest = half * half - (dot(o, o) - b->radius * b->radius);
    if (rest < 0)
        return far_away;
    double root = sqrt(rest), near = -half - root, far = -half + root;
    return near > nearest ? near : far > nearest ? far : far_away;
}

static void try_ball(const ball *b, vec from, vec dir, hit *h)
{
    double d = meet_ball(b, from, dir);
    if (d < h->distance) {
        vec p = add(from, scale(dir, d));
        *h = (hit){ .distance = d, .kind = b->kind, .point = p, .normal = scale(sub(p, b->at), 1 / b->radius),
                    .ball = b };
    }
}

static void try_leaves(const scene *s, vec from, vec dir, hit *h)
{
    for (int c = 0; c < CLUSTERS; c++) {
        vec o = sub(from, s->cluster[c].at);
        double half = dot(o, dir), radius = s->cluster[c].radius;
        if (half * half < dot(o, o) - radius * radius)
            continue;
        for (int i = 0; i < LEAVES; i++)
            try_ball(&s->leaf[c][i], from, dir, h);
    }
}

static void try_ground(vec from, vec dir, hit *h)
{
    double d = dir.y < 0 ? -from.y / dir.y : far_away;
    if (d > nearest && d < h->distance)
        *h = (hit){ .distance = d, .kind = GROUND, .point = add(from, scale(dir, d)), .normal = { 0, 1, 0 } };
}

/* Axis-parallel box between lo and hi. */
static double meet_box(vec lo, vec hi, vec from, vec dir, vec *normal)
{
    const double l[3] = { lo.x, lo.y, lo.z }, r[3] = { hi.x, hi.y, hi.z };
    const double o[3] = { from.x, from.y, from.z }, d[3] = { dir.x, dir.y, dir.z };
    double enter = nearest, leave = far_away, n[3] = { 0, 0, 0 };
    int axis = -1;
    for (int i = 0; i < 3; i++) {
        if (d[i] == 0) {
            if (o[i] < l[i] || o[i] > r[i])
                return far_away;
            continue;
        }
        double a = (l[i] - o[i]) / d[i], b = (r[i] - o[i]) / d[i];
        double first = a < b ? a : b, last = a < b ? b : a;
        if (first > enter) {
            enter = first;
            axis = i;
        }
        leave = last < leave ? last : leave;
    }
    if (axis < 0 || enter > leave)
        return far_away;
    n[axis] = d[axis] > 0 ? -1 : 1;
    *normal = (vec){ n[0], n[1], n[2] };
    return enter;
}

static void try_wall(vec from, vec dir, hit *h)
{
    vec n;
    vec lo = { wall_x - 0.3, 0, wall_from }, hi = { wall_x, wall_top, wall_to };
    double d = meet_box(lo, hi, from, dir, &n);
    if (d < h->distance)
        *h = (hit){ .distance = d, .kind = WALL, .point = add(from, scale(dir, d)), .normal = n };
}

static vec turn(vec v, double sine)
{
    return (vec){ crate_cos * v.x + sine * v.z, v.y, crate_cos * v.z - sine * v.x };
}

static void try_crate(vec from, vec dir, hit *h)
{
    vec o = turn(sub(from, crate_at), crate_sin), v = turn(dir, crate_sin), n = { 0, 0, 0 };
    double d = meet_box((vec){ -crate_half, -crate_half, -crate_half },
                        (vec){ crate_half, crate_half, crate_half }, o, v, &n);
    if (d < h->distance)
        *h = (hit){ .distance = d, .kind = CRATE, .point = add(from, scale(dir, d)),
                    .normal = turn(n, -crate_sin),
                    .local = scale(add(o, scale(v, d)), 1 / crate_half) };
}

static void try_trunk(vec from, vec dir, hit *h)
{
    const double radius = 0.2;
    double ox = from.x - trunk_at.x, oz = from.z - trunk_at.z;
    double a = dir.x * dir.x + dir.z * dir.z, b = ox * dir.x + oz * dir.z;
    double c = ox * ox + oz * oz - radius * radius;
    if (a == 0 || b * b < a * c)
        return;
    double d = (-b - sqrt(b * b - a * c)) / a;
    vec p = add(from, scale(dir, d));
    if (d > nearest && d < h->distance && p.y > 0 && p.y < 3)
        *h = (hit){ .distance = d, .kind = TRUNK, .point = p,
                    .normal = { (p.x - trunk_at.x) / radius, 0, (p.z - trunk_at.z) / radius } };
}

static hit trace(const scene *s, vec from, vec dir)
{
    hit h = { .distance = far_away };
    try_ground(from, dir, &h);
    try_wall(from, dir, &h);
    try_crate(from, dir, &h);
    try_trunk(from, dir, &h);
    for (int i = 0; i < 3; i++)
        try_ball(&s->ball[i], from, dir, &h);
    try_leaves(s, from, dir, &h);
    return h;
}

/* ---- What it looks like ----------------------------------------------------------------------------- */

static vec ground_color(vec p, double *gloss)
{
    double rough = cloudy(p.x * 9, p.z * 9, 4, 40);
    *gloss = 0;
    if (p.x < wall_x || p.x > 3.0 || p.z > 10.2) { /* grass */
        double blades = noise(p.x * 40, p.z * 14, 50), patch = cloudy(p.x * 0.7, p.z * 0.7, 3, 54);
        double u = p.x / 0.3 + 200, v = p.z / 0.3;
        int i = (int)floor(u), j = (int)floor(v);
        double fx = u - i - 0.3 - 0.4 * lattice(i, j, 56), fz = v - j - 0.3 - 0.4 * lattice(i, j, 57);
        if (lattice(i, j, 58) < 0.16 && fx * fx + fz * fz < 0.03) /* flowers */
            return lattice(i, j, 59) < 0.5 ? (vec){ 0.95, 0.85, 0.25 } : (vec){ 0.95, 0.92, 0.95 };
        vec dark = { 0.10, 0.22, 0.04 }, light = { 0.36, 0.43, 0.11 };
        return scale(mix(dark, light, 0.7 * blades + 0.6 * patch - 0.15), 0.75 + 0.5 * rough);
    }
    double u = p.x / 0.8 + 100, v = p.z / 0.8 + 100;
    int i = (int)floor(u), j = (int)floor(v);
    u -= i;
    v -= j;
    double seam = fmin(fmin(u, 1 - u), fmin(v, 1 - v));
    if (seam < 0.018)
        return (vec){ 0.17, 0.16, 0.15 };
    *gloss = 0.11;
    double vein = cloudy(p.x * 3 + 5 * lattice(i, j, 8), p.z * 3, 4, 44);
    vein = 1 - smooth(0.0, 0.05, fabs(vein - 0.47));
    vec light = { 0.80, 0.75, 0.66 }, dark = { 0.24, 0.13, 0.10 };
    vec tile = scale((i + j) % 2 ? light : dark, 0.82 + 0.3 * lattice(i, j, 9) * rough + 0.1 * rough);
    return mix(tile, (i + j) % 2 ? (vec){ 0.52, 0.44, 0.36 } : (vec){ 0.48, 0.32, 0.26 }, 0.55 * vein);
}

/* Marks like writing: words of 3 x 5 dot letters in lines. u to the right, v down, in letters and lines. */
static bool written(double u, double v, int seed)
{
    int letter = (int)floor(u), line = (int)floor(v);
    int x = (int)floor((u - letter) * 4), y = (int)floor((v - line) * 7);
    if (x > 2 || y > 4 || letter < 0 || line < 0)
        return false;
    bool blank = lattice(letter, line, seed) < 0.16 || (double)letter > 13 - 5 * lattice(line, 3, seed);
    int shape = (int)(lattice(letter, line, seed + 1) * 26);
    return !blank && lattice(x < 2 ? x : (shape % 2 ? 0 : 2), y, shape * 7 + seed) < 0.56;
}

static vec poster_color(double u, double v) /* 0..1 from its top left corner */
{
    vec paper = { 0.88, 0.84, 0.72 }, ink = { 0.10, 0.11, 0.18 };
    if (u < 0.03 || u > 0.97 || v < 0.02 || v > 0.98)
        return (vec){ 0.07, 0.07, 0.08 };
    if (v < 0.56) { /* a sun over waves */
        double x = u - 0.5, y = v - 0.28, r = sqrt(x * x * 1.2 + y * y);
        double wave = 0.40 + 0.025 * (noise(u * 9, 0, 70) - 0.5) + 0.02;
        if (v > wave)
            return (int)floor((v - wave) * 42 + 1.5 * noise(u * 7, v * 3, 72)) % 2 ? (vec){ 0.10, 0.33, 0.42 }
                                                                                  : (vec){ 0.74, 0.78, 0.66 };
        return r < 0.15 ? (vec){ 0.86, 0.26, 0.12 } : mix((vec){ 0.95, 0.72, 0.36 }, paper, clamp(v * 2));
    }
    if (v < 0.70)
        return written((u - 0.08) * 7.5, (v - 0.58) * 7.5, 200) ? (vec){ 0.72, 0.13, 0.10 } : paper;
    return v < 0.95 && u > 0.08 && written((u - 0.08) * 16, (v - 0.72) * 17, 300) ? ink : paper;
}

static vec wall_color(vec p, vec normal)
{
    double u = normal.x != 0 ? p.z : p.x, v = p.y;
    double pu = (u - 4.1) / 1.5, pv = (2.35 - v) / 1.9;
    if (normal.x != 0 && pu > 0 && pu < 1 && pv > 0 && pv < 1)
        return poster_color(pu, pv);
    if (v > wall_top - 0.12 || normal.y != 0)
        return scale((vec){ 0.62, 0.58, 0.52 }, 0.8 + 0.4 * cloudy(u * 8, v * 8 + p.x, 4, 60));
    double row = v / 0.172, shift = (int)floor(row) % 2 * 0.5;
    double column = u / 0.46 + shift + 50;
    int i = (int)floor(column), j = (int)floor(row);
    double x = column - i, y = row - j;
    double grain = cloudy(u * 16, v * 16, 4, 64);
    double wobble = 0.02 * (noise(u * 20, v * 20, 68) - 0.5);
    if (x < 0.04 + wobble || y < 0.10 + 2 * wobble)
        return scale((vec){ 0.66, 0.61, 0.54 }, 0.7 + 0.5 * grain);
    vec brick = mix((vec){ 0.50, 0.17, 0.10 }, (vec){ 0.72, 0.36, 0.22 }, lattice(i, j, 61));
    if (lattice(i, j, 62) < 0.12)
        brick = (vec){ 0.30, 0.15, 0.14 };
    return scale(brick, 0.62 + 0.72 * grain);
}

static vec crate_color(vec p, vec side)
{
    /* Face coordinates in -1..1, by the axis that the face looks along. */
    double u = fabs(p.x) > 0.9999 ? p.z : p.x, v = fabs(p.y) > 0.9999 ? p.z : p.y;
    double edge = fmax(fabs(u), fabs(v)), plank = (v + 1) * 2.5;
    bool frame = edge > 0.80, brace = !frame && side.y < 0.5 && fabs(u - v) < 0.20;
    double along = frame && fabs(v) < 0.80 ? v : u, across = frame && fabs(v) < 0.80 ? u : v;
    if (brace) {
        along = u + v;
        across = u - v;
    }
    double grain = noise(along * 3 + 9, across * 26, 80) * 0.6 + noise(along * 8, across * 70, 81) * 0.4;
    vec wood = mix((vec){ 0.42, 0.25, 0.11 }, (vec){ 0.76, 0.53, 0.28 }, grain);
    if (!frame && !brace) {
        wood = scale(wood, 0.80 + 0.22 * lattice((int)floor(plank), 1, 82));
        double gap = plank - floor(plank);
        if (gap < 0.06)
            wood = scale(wood, 0.35);
    }
    if (fabs(edge - 0.80) < 0.02 || (!frame && fabs(fabs(u - v) - 0.20) < 0.02 && side.y < 0.5))
        wood = scale(wood, 0.5);
    double nail = (fabs(u) - 0.9) * (fabs(u) - 0.9) + (fabs(v) - 0.9) * (fabs(v) - 0.9);
    return nail < 0.0012 ? (vec){ 0.20, 0.20, 0.21 } : wood;
}

static vec ball_color(const hit *h)
{
    vec n = h->normal;
    if (h->kind == MARBLE) {
        double t = cloudy(n.x * 2.5 + n.z * 1.7 + 7, n.y * 2.5 - n.z, 5, 90);
        return mix((vec){ 0.02, 0.10, 0.42 }, (vec){ 0.55, 0.85, 0.95 }, smooth(0.40, 0.56, t));
    }
    static const vec axis = { 0.36, 0.80, -0.48 }; /* of length one */
    double latitude = dot(n, axis) * 4.5 + 100.5;
    int band = (int)floor(latitude);
    double edge = latitude - band;
    static const vec colors[3] = { { 0.86, 0.10, 0.08 }, { 0.95, 0.93, 0.88 }, { 0.05, 0.26, 0.58 } };
    vec c = colors[band % 3];
    return edge < 0.04 || edge > 0.96 ? scale(c, 0.55) : c;
}

static vec sky(vec dir)
{
    double up = dir.y, glow = dot(dir, unit(sun));
    vec c = mix((vec){ 0.93, 0.78, 0.62 }, (vec){ 0.40, 0.62, 0.88 }, smooth(-0.02, 0.22, up));
    c = mix(c, (vec){ 0.09, 0.25, 0.60 }, smooth(0.10, 0.75, up));
    if (up > 0.01) { /* clouds on a plane high above */
        double x = dir.x / (up + 0.06), z = dir.z / (up + 0.06);
        double t = cloudy(x * 0.9 + 3, z * 0.55, 6, 20), lit = cloudy(x * 0.9 + 3.25, z * 0.55 - 0.2, 5, 20);
        vec white = mix((vec){ 0.66, 0.66, 0.74 }, (vec){ 1.02, 0.98, 0.93 }, clamp(0.75 + 5 * (t - lit)));
        c = mix(c, white, smooth(0.47, 0.66, t) * smooth(0.02, 0.14, up) * 0.92);
    }
    double g = clamp(glow);
    double halo = g * g * g * g * g * g * g * g;
    c = add(c, scale((vec){ 0.42, 0.28, 0.12 }, halo));
    return mix(c, (vec){ 1.6, 1.5, 1.25 }, smooth(0.9975, 0.9985, glow));
}

/* Ranges of mountains before the sky, farthest first: paler, lower, behind one another. */
static vec distance(vec dir)
{
    vec c = sky(dir);
    if (dir.z <= 0.05)
        return c;
    double x = dir.x / dir.z, y = dir.y / dir.z;
    static const struct {
        double height, rise, fine, haze;
        vec    rock;
    } range[3] = {
        { 0.170, 0.62, 2.1, 0.34, { 0.36, 0.38, 0.50 } },
        { 0.090, 0.40, 3.1, 0.20, { 0.24, 0.27, 0.33 } },
        { 0.030, 0.12, 6.0, 0.12, { 0.10, 0.19, 0.09 } },
    };
    for (int i = 0; i < 3; i++) {
        double ridge =
            range[i].height + range[i].rise * (cloudy(x * range[i].fine + 31 * i, 0.5, 7, 10 + 8 * i) - 0.36);
        if (y >= ridge)
            continue;
        double below = (ridge - y) / range[i].rise;
        double fold = cloudy(x * range[i].fine * 5 + 3 * y, y * range[i].fine * 9 + 4 * x, 5, 14 + 8 * i);
        double shade =
            cloudy(x * range[i].fine * 5 + 3 * y - 0.22, y * range[i].fine * 9 + 4 * x - 0.22, 5, 14 + 8 * i);
        double slope = clamp(0.5 + 5 * (fold - shade)); /* towards the sun or away from it */
        vec rock = scale(range[i].rock, 0.35 + 0.8 * fold + 0.55 * slope);
        double snow = i < 2 ? 1 - smooth(0.05, 0.24, below + 0.9 * (fold - 0.45)) : 0;
        rock = mix(rock, scale((vec){ 0.98, 0.98, 1.0 }, 0.55 + 0.62 * slope), 0.92 * snow);
        c = mix(rock, (vec){ 0.72, 0.76, 0.82 }, range[i].haze * (0.5 + 0.5 * clamp(1 - y * 4)));
    }
    return c;
}

static vec color_at(const hit *h, double *gloss, double *shine)
{
    *gloss = *shine = 0;
    switch (h->kind) {
    case GROUND: return ground_color(h->point, gloss);
    case WALL: return wall_color(h->point, h->normal);
    case CRATE: return crate_color(h->local, h->normal);
    case CHROME: *gloss = 0.86, *shine = 1; return (vec){ 0.10, 0.10, 0.11 };
    case MARBLE: *gloss = 0.10, *shine = 0.9; return ball_color(h);
    case STRIPED: *gloss = 0.06, *shine = 0.6; return ball_color(h);
    case TRUNK: {
        double bark = cloudy(h->normal.x * 4 + h->normal.z * 3, h->point.y * 2.5, 5, 85);
        return mix((vec){ 0.13, 0.09, 0.06 }, (vec){ 0.46, 0.36, 0.26 }, smooth(0.3, 0.65, bark));
    }
    case LEAF: {
        double young = h->ball->tint * h->ball->tint;
        return mix((vec){ 0.07, 0.20, 0.04 }, (vec){ 0.34, 0.46, 0.10 }, young);
    }
    case NOTHING: break;
    }
    return (vec){ 0, 0, 0 };
}

/* How much of the sky a point sees: the objects on the floor darken it around them. */
static double openness(const scene *s, vec p, vec n)
{
    double open = 1;
    for (int i = 0; i < 3; i++) {
        vec d = sub(s->ball[i].at, p);
        double r2 = s->ball[i].radius * s->ball[i].radius, d2 = dot(d, d);
        if (d2 > r2 * 1.0001)
            open *= 1 - clamp(0.5 + 0.5 * dot(n, unit(d))) * r2 / d2 * 0.9;
    }
    vec c = sub(p, crate_at);
    double away = fmax(fabs(turn(c, crate_sin).x), fabs(turn(c, crate_sin).z)) - crate_half;
    if (away > 0)
        open *= 0.62 + 0.38 * smooth(0, 0.6, away + 0.7 * p.y);
    if (p.x > wall_x)
        open *= 0.70 + 0.30 * smooth(0, 0.9, p.x - wall_x + (n.x > 0.5 ? p.y : 0));
    return open;
}

static vec look(const scene *s, vec from, vec dir, int bounces)
{
    hit h = trace(s, from, dir);
    if (h.kind == NOTHING)
        return distance(dir);
    double gloss, shine;
    vec color = color_at(&h, &gloss, &shine), n = h.normal;
    vec start = add(h.point, scale(n, 1e-4)), to_sun = unit(sun);
    double facing = dot(n, to_sun);
    double lit = facing > 0 && trace(s, start, to_sun).kind == NOTHING ? facing : 0;
    if (h.kind == LEAF) /* light comes through */
        lit = 0.35 + 0.65 * lit;

    double open = openness(s, h.point, n) * (0.62 + 0.38 * n.y);
    vec light = add(scale(sunlight, lit), scale(skylight, open));
    light = add(light, scale((vec){ 0.16, 0.13, 0.10 }, 0.5 - 0.5 * n.y)); /* from the ground */
    vec c = mul(color, light);

    vec mirror = sub(dir, scale(n, 2 * dot(dir, n)));
    if (gloss > 0 && bounces < MAX_BOUNCES) {
        double graze = 1 + dot(dir, n);
        double fresnel = gloss + (1 - gloss) * graze * graze * graze * graze * graze * 0.7;
        c = mix(c, look(s, start, mirror, bounces + 1), fresnel);
    }
    double spot = clamp(dot(mirror, to_sun));
    for (int i = 0; i < 6; i++)
        spot *= spot;
    c = add(c, scale(sunlight, lit > 0 ? shine * spot : 0));
    double haze = clamp((h.distance - 12) / 160);
    return mix(c, (vec){ 0.74, 0.76, 0.78 }, haze * (2 - haze) * 0.5);
}

/* ---- The picture ------------------------------------------------------------------------------------- */

/* Film: bright light saturates gently; then gamma 2. */
static uint8_t develop(double v)
{
    v = v < 0 ? 0 : v;
    v = v * (1 + v * 0.16) / (1 + v * 0.62);
    return (uint8_t)(sqrt(clamp(v * 1.12)) * 255 + 0.5);
}

static void paint(const scene *s, uint8_t *rgb)
{
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            vec sum = { 0, 0, 0 };
            for (int i = 0; i < SAMPLES * SAMPLES; i++) {
                int row = i / SAMPLES, column = i % SAMPLES;
                double px = x + (column + 0.5) / SAMPLES, py = y + (row + 0.5) / SAMPLES;
                vec dir = { (px - WIDTH / 2.0) / HEIGHT * 1.12, (HEIGHT * 0.44 - py) / HEIGHT * 1.12, 1 };
                vec c = look(s, eye, unit(dir), 0);
                sum = add(sum, (vec){ fmin(c.x, 1.6), fmin(c.y, 1.6), fmin(c.z, 1.6) });
            }
            sum = scale(sum, 1.0 / (SAMPLES * SAMPLES));
            *rgb++ = develop(sum.x);
            *rgb++ = develop(sum.y);
            *rgb++ = develop(sum.z);
        }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: scene OUT.png\n");
        return 2;
    }
    strata_error err;
    strata_image *img = NULL;
    scene *s = malloc(sizeof *s);
    bool ok = s != NULL && strata_image_create(WIDTH, HEIGHT, NULL, &img, &err) == STRATA_OK;
    if (ok) {
        grow(s);
        paint(s, strata_image_pixels(img));
        ok = strata_image_write_png(img, argv[1], &err) == STRATA_OK;
    }
    if (!ok)
        fprintf(stderr, "scene: error: %s\n", s != NULL ? err.text : "out of memory");
    strata_image_destroy(img);
    free(s);
    return ok ? 0 : 1;
}
