//! The functions of one vector type against those on arrays, bit for bit. The parent module has
//! them, and `plain` has the others.

use super::*;

type Lanes = [f32; W];

fn lanes(vector: V) -> Lanes {
    unsafe { ::core::mem::transmute::<V, Lanes>(vector) }
}

fn vector(lanes: Lanes) -> V {
    unsafe { ::core::mem::transmute::<Lanes, V>(lanes) }
}

#[track_caller]
fn same(what: &str, found: &[f32], expected: &[f32]) {
    let is_same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let all = found.len() == expected.len() && found.iter().zip(expected).all(is_same);
    assert!(all, "{what}: {found:?}, not {expected:?}");
}

/// Numbers of every kind.
fn numbers(round: usize) -> Lanes {
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        2.5,
        0.5,
        -0.5,
        1e30,
        f32::INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        -7.3,
    ];
    ::core::array::from_fn(|lane| {
        let at = round * 31 + lane * 7 + round * lane;
        match at % 3 {
            0 => special[at % 12],
            _ => (at * 37 % 101) as f32 / 7.0 - 6.5,
        }
    })
}

fn arithmetic() {
    type One = (&'static str, unsafe fn(V) -> V, fn(Lanes) -> Lanes);
    type Two = (&'static str, unsafe fn(V, V) -> V, fn(Lanes, Lanes) -> Lanes);
    let one: [One; 3] =
        [("neg", neg, plain::neg), ("abs", abs, plain::abs), ("round", round, plain::round)];
    let two: [Two; 8] = [
        ("add", add, plain::add),
        ("sub", sub, plain::sub),
        ("mul", mul, plain::mul),
        ("div", div, plain::div),
        ("min", min, plain::min),
        ("max", max, plain::max),
        ("copysign", copysign, plain::copysign),
        ("pick_pairs", pick_pairs, |low, high| {
            ::core::array::from_fn(|i| if 2 * i < W { low[2 * i] } else { high[2 * i + 1 - W] })
        }),
    ];
    for i in 0..200 {
        let [a, b, c, d] = [i, i + 71, i + 143, i + 301].map(numbers);
        for (name, found, expected) in one {
            same(name, &lanes(unsafe { found(vector(a)) }), &expected(a));
        }
        for (name, found, expected) in two {
            same(name, &lanes(unsafe { found(vector(a), vector(b)) }), &expected(a, b));
        }
        let [x, y, z, w] = [a, b, c, d].map(vector);
        same("fma", &lanes(unsafe { fma(x, y, z) }), &plain::fma(a, b, c));
        same("choose", &lanes(unsafe { choose(x, y, z, w) }), &plain::choose(a, b, c, d));
        let whole =
            ::core::array::from_fn(|lane| (i as f32) / 2.0 - 50.0 + lane as f32).map(f32::floor);
        same("exp2", &lanes(unsafe { exp2(vector(whole)) }), &plain::exp2(whole));
        same("every", &lanes(unsafe { every(a[0]) }), &plain::every(a[0]));
    }
}

fn loads() {
    let from: [f32; 4 * W] = ::core::array::from_fn(|i| i as f32 + 0.5);
    let all = 4 * W as isize;
    for at in 0..W {
        same("splat", &lanes(unsafe { splat(&from, at) }), &plain::splat(&from, at));
        same("load", &lanes(unsafe { load(&from, at) }), &plain::load(&from, at));
        let found = unsafe { load_pairs(&from, at) };
        same("load_pairs", &lanes(found), &plain::load_pairs(&from, at));
        for (step, live) in [(1, W), (3, W), (3, W - 1), (-1, at), (2, 0)] {
            let found = unsafe { gather(&from, at, step, live) };
            same("gather", &lanes(found), &plain::gather(&from, at, step, live));
        }
        unsafe { prefetch(&from, at + 1000) };
    }
    for at in 1 - W as isize..all {
        for (first, end) in
            (-2..=W as isize).flat_map(|a| (-2..W as isize + 3).map(move |b| (a, b)))
        {
            let (from_lane, to_lane) = (first.max(0), end.min(W as isize));
            let inside = |step: isize| {
                from_lane >= to_lane
                    || at + step * from_lane >= 0 && at + step * (to_lane - 1) < all
            };
            if inside(1) {
                let found = unsafe { load_between(&from, at, first, end) };
                same("load_between", &lanes(found), &plain::load_between(&from, at, first, end));
            }
            let all: Lanes = ::core::array::from_fn(|i| i as f32 + 1.0);
            let cut = unsafe { between(vector(all), first, end, -f32::INFINITY) };
            same("between", &lanes(cut), &plain::between(all, first, end, -f32::INFINITY));
            if inside(2) {
                let found = unsafe { load_pairs_between(&from, at, first, end) };
                let expected = plain::load_pairs_between(&from, at, first, end);
                same("load_pairs_between", &lanes(found), &expected);
            }
        }
    }
}

fn stores() {
    let value: Lanes = ::core::array::from_fn(|i| i as f32 + 0.5);
    let tile: [Lanes; SQUARE] = ::core::array::from_fn(|i| value.map(|x| x + 100.0 * i as f32));
    let mut write = |what: &str, found: &dyn Fn(&mut [f32]), expected: &dyn Fn(&mut [f32])| {
        let mut to = [[0.0; 6 * W]; 2];
        found(&mut to[0]);
        expected(&mut to[1]);
        same(what, &to[0], &to[1]);
    };
    let x = || vector(value);
    write("store", &|to| unsafe { store(to, 3, x()) }, &|to| plain::store(to, 3, value));
    for live in 0..=W {
        write("store_first", &|to| unsafe { store_first(to, 1, live, x()) }, &|to| {
            plain::store_first(to, 1, live, value);
        });
        for step in [1, 2, 5] {
            write("scatter", &|to| unsafe { scatter(to, 1, step, live, x()) }, &|to| {
                plain::scatter(to, 1, step, live, value);
            });
        }
        write(
            "store_square",
            &|to| unsafe { store_square(to, 2, 5, live, tile.map(vector)) },
            &|to| {
                plain::store_square(to, 2, 5, live, tile);
            },
        );
    }
}

pub fn check() {
    arithmetic();
    loads();
    stores();
}
