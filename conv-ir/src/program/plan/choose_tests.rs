use super::*;
use crate::program::plan::Plan;
use std::ops::Range;

fn chain(first: &str, steps: impl IntoIterator<Item = String>) -> Program {
    let steps: Vec<String> = std::iter::once(first.to_owned()).chain(steps).collect();
    steps.join("\n").parse().expect("legal")
}

fn equal_steps(count: usize) -> Program {
    let step = || "conv2d oc16 kernel 3 pad 1, relu".to_owned();
    chain("conv2d ic16 oc16 in 56 kernel 3 pad 1, relu", (1..count).map(|_| step()))
}

/// Each step is of another kind than all others.
fn different_steps(count: usize) -> Program {
    let step = |at: usize| format!("conv2d oc{} kernel 3 pad 1, relu", 16 + at);
    chain("conv2d ic16 oc16 in 56 kernel 3 pad 1, relu", (1..count).map(step))
}

/// MobileNetV2 behind its first step and up to its pooling: (expansion, channels, blocks, stride).
fn mobilenet_v2() -> Program {
    const BLOCKS: [(usize, usize, usize, usize); 7] = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    let (mut steps, mut channels) = (Vec::new(), 32);
    for (expansion, to, blocks, first_stride) in BLOCKS {
        for block in 0..blocks {
            let stride = if block == 0 { first_stride } else { 1 };
            let from = steps.len() + 1;
            let wide = expansion * channels;
            if expansion > 1 {
                steps.push(format!("conv2d oc{wide} kernel 1 + bias, relu6"));
            }
            steps.push(format!(
                "conv2d g{wide} oc{wide} kernel 3 pad 1 stride {stride} + bias, relu6"
            ));
            let adds = stride == 1 && channels == to;
            let residual = if adds { format!(" + residual from {from}") } else { String::new() };
            steps.push(format!("conv2d oc{to} kernel 1 + bias{residual}"));
            channels = to;
        }
    }
    steps.push("conv2d oc1280 kernel 1 + bias, relu6".to_owned());
    chain("conv2d ic3 oc32 in 224 kernel 3 pad 1 stride 2 + bias, relu6", steps)
}

fn swept(chain: &Program, target: &Target) -> usize {
    let steps = Steps::of(chain, &[], target);
    steps.cheapest(chain, 1);
    steps.swept.get()
}

#[test]
fn work_grows_with_the_steps_and_not_faster() {
    for target in Target::ALL {
        let of = |count: usize| swept(&different_steps(count), target);
        let (some, more) = (of(32), of(100));
        assert!(more * 32 <= some * 100 * 5 / 4, "{target}: {some} for 32 steps, {more} for 100");
        let of = |count: usize| swept(&equal_steps(count), target);
        assert_eq!(of(100), of(8), "{target}: equal steps are priced once");
    }
}

#[test]
fn a_network_of_few_kinds_is_priced_by_kind() {
    let network = mobilenet_v2();
    assert_eq!(network.steps().len(), 52);
    let work = swept(&network, &Target::AVX512);
    // Of 52 steps 8 would be swept through under about 20 heights, halos kept or not: 16,640.
    assert!(work < 12_000, "{work}");
    let plan = Plan::choose(&network, &Target::AVX512, 1);
    plan.check(&network).expect("a plan that can be");
}

/// The steps of each fused group.
fn fused(plan: &Plan) -> Vec<Range<usize>> {
    let fused = plan.groups.iter().filter(|group| group.strips.is_some());
    fused.map(|group| group.steps.clone()).collect()
}

const BLOCK: &str = "conv2d ic16 oc96 in 112 kernel 1 + bias, relu6
conv2d g96 oc96 kernel 3 stride 2 pad 1 + bias, relu6
conv2d oc24 kernel 1 + bias";

#[test]
fn a_block_that_gains_is_fused_whatever_follows_it() {
    let dense = || "conv2d oc256 kernel 3 pad 1".to_owned();
    for target in [Target::CRANELIFT, Target::AVX2, Target::AVX512] {
        let alone = Plan::choose(&chain(BLOCK, []), &target, 1);
        assert_eq!(fused(&alone), vec![0..3], "{target}");
        let followed = Plan::choose(&chain(BLOCK, [dense(), dense()]), &target, 1);
        assert_eq!(followed.groups[0], alone.groups[0], "{target}");
    }
}

#[test]
fn equal_steps_are_fused_however_many() {
    for count in [24, 32, 100] {
        let plan = Plan::choose(&equal_steps(count), &Target::AVX512, 1);
        let steps: usize = fused(&plan).iter().map(Range::len).sum();
        assert!(steps + 2 >= count, "{steps} of {count} are fused");
    }
}

/// Seven steps on a large picture, as at the end of a network that finds text.
fn detection_head() -> Program {
    "conv2d ic32 oc64 in 640 kernel 1, relu; conv2d g64 oc64 kernel 3 pad 1, relu; conv2d oc32 kernel 1
     conv2d oc64 kernel 1, relu; conv2d g64 oc64 kernel 3 pad 1, relu; conv2d oc32 kernel 1
     conv2d oc8 kernel 1".parse().expect("legal")
}

#[test]
fn line_buffers_stay_in_the_second_level_cache() {
    for target in Target::ALL {
        for chain in [detection_head(), mobilenet_v2(), equal_steps(20)] {
            for group in Plan::choose(&chain, target, 1).groups {
                let (_, most) = Plan::group_cost(&chain, &group, target).expect("it can be");
                let steps = &chain.steps()[group.steps.clone()];
                let lines = most.iter().zip(steps).take(steps.len() - 1);
                let bytes: i64 =
                    lines.map(|(rows, step)| rows * Numbers::of(&step.conv).row_bytes).sum();
                assert!(bytes <= most_lines(target), "{target}: {group:?} has {bytes} bytes");
                assert!(bytes <= 1 << 20);
            }
        }
    }
    let plan = Plan::choose(&detection_head(), &Target::AVX512, 1);
    assert!(!fused(&plan).is_empty(), "{:?}", plan.reasons);
}

#[test]
fn rows_that_are_kept_are_moved_from_the_strip_on_that_fills_the_lines() {
    let passes: Program = "conv2d u8 x i8 -> i16 g3 ic3 oc3 in 1080x1920 kernel 1x15 pad 0,7 nhwc
         conv2d i16 x i8 -> u8 g3 oc3 kernel 15x1 pad 7,0 nhwc"
        .parse()
        .expect("legal");
    let numbers: Vec<Numbers> = passes.convs().map(Numbers::of).collect();
    assert_eq!(numbers[0].row_bytes, 2 * 3 * 1920, "lines are of words");
    let axes = || numbers.iter().map(|numbers| numbers.rows).collect();
    for each in [1, 3, 30] {
        let swept = sweep(axes(), vec![None; 2], &[true; 2], each);
        assert_eq!(swept[0].most, 14 + each);
        // All strips but the first ones, which fill the lines.
        let moved = 14 * (1080 / each - 15 / each - 1);
        assert!((moved..=moved + 14 * 15).contains(&swept[0].moved), "{swept:?}");
    }
    let mesh = Target { l2_bytes: 2 << 20, far_cycles: 130, ..Target::AVX512_VNNI };
    let plan = Plan::choose(&passes, &mesh, 1);
    let strips = plan.groups[0].strips.as_ref().expect("far is dear");
    assert!(strips.rows > 8, "{plan:?}");
}

#[test]
fn a_tensor_that_is_added_later_is_whole_and_the_rest_is_fused() {
    let block = |at: usize| {
        let from = if at == 3 { " + residual from 2" } else { "" };
        [
            "conv2d oc96 kernel 1, relu6".to_owned(),
            "conv2d g96 oc96 kernel 3 pad 1, relu6".to_owned(),
            format!("conv2d oc16 kernel 1{from}"),
        ]
    };
    let chain = chain(
        "conv2d ic16 oc96 in 56 kernel 1, relu6",
        std::iter::once("conv2d oc16 kernel 1".to_owned()).chain((0..4).flat_map(block)),
    );
    let plan = Plan::choose(&chain, &Target::AVX512, 1);
    plan.check(&chain).expect("tensor 2 is whole");
    assert!(fused(&plan).len() >= 3, "{:?}", plan.reasons);
}

/// The cheapest plan by trying all: every cut, every height.
fn brute(chain: &Program, target: &Target) -> f64 {
    let steps = Steps::of(chain, &[], target);
    let count = chain.steps().len();
    let priced = |start: usize, end: usize| {
        let mut best = (end - start == 1).then(|| steps.apart(start, end));
        if end - start > MOST_STEPS || steps.read_behind(start, end).is_some() {
            return best;
        }
        for rows in heights(steps.numbers(end - 1).rows.output) {
            for keep in [true, false] {
                let strips = Strips {
                    rows: rows as usize,
                    keep: vec![keep; end - start],
                    layouts: steps.layouts(start, end),
                    chunks: 1,
                };
                let group = Group { steps: start..end, strips: Some(strips) };
                let Some((cost, most)) = Plan::group_cost(chain, &group, target) else { continue };
                let inside = (start..end - 1).zip(&most);
                let is_line =
                    inside.clone().all(|(at, rows)| *rows < steps.numbers(at).rows.output);
                let bytes: i64 = inside.map(|(at, rows)| rows * steps.numbers(at).row_bytes).sum();
                let gains = cost.total() <= WORTH * steps.apart(start, end);
                if end - start > 1 && is_line && bytes <= most_lines(target) && gains {
                    best = Some(best.map_or(cost.total(), |known: f64| known.min(cost.total())));
                }
            }
        }
        best
    };
    let mut best = vec![0.0];
    for end in 1..=count {
        let all = (0..end).filter_map(|start| {
            let whole = if start > 0 { steps.kinds[steps.of[start - 1]].whole } else { 0.0 };
            Some(best[start] + whole + priced(start, end)?)
        });
        best.push(all.fold(f64::INFINITY, f64::min));
    }
    best[count]
}

#[test]
fn the_plan_is_the_cheapest_of_all() {
    let causal = |at: usize| format!("conv1d oc48 kernel 2 dilation {} pad causal", 1 << (at % 5));
    let chains = [
        chain(BLOCK, ["conv2d oc144 kernel 1".to_owned(), "conv2d g144 oc144 kernel 3 pad 1".to_owned(), "conv2d oc24 kernel 1 + residual from 3".to_owned()]),
        equal_steps(9),
        detection_head(),
        chain("conv1d ic48 oc48 in 9000 kernel 2 pad causal", (1..10).map(causal)),
        "conv2d nhwc g32 ic32 oc32 in 60x40 kernel 5 pad 2; conv2d oc16 kernel 1; conv2d g16 oc16 kernel 3 pad 1 mode reflect; conv2d oc5 kernel 3 stride 2".parse().expect("legal"),
        "conv2d ic8 oc16 in 30 kernel 3; conv2d-transposed oc8 kernel 2 stride 2; conv2d oc32 kernel 1; conv2d g32 oc32 kernel 3 pad 1 mode circular; conv2d oc8 kernel 1".parse().expect("legal"),
    ];
    for target in [Target::CRANELIFT, Target::AVX512] {
        for chain in &chains {
            let plan = Plan::choose(chain, &target, 1);
            let found = plan.cost(chain, &target).expect("it can be").total();
            let wanted = brute(chain, &target);
            assert!((found - wanted).abs() <= 1e-6 * wanted, "{target}, {chain}: {found} {wanted}");
        }
    }
}
